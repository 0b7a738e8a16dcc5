use axum::extract::Path;
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::page;

/// The content security policy: the page may only load its own files and call its own server. `'self'` includes WebSockets in
/// current browsers only, so they are listed too.
fn policy(host: Option<&str>) -> HeaderValue {
    let sockets = host.filter(|host| is_plain(host)).map(|host| format!(" ws://{host} wss://{host}"));
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{}; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        sockets.unwrap_or_default()
    );
    // The policy is plain ASCII.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Whether a host may be inserted into a policy, which a space, a semicolon or a comma would change.
fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

/// All files of the page, by name.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/demo_files.rs"));

pub(super) async fn page(headers: HeaderMap) -> Response {
    answer("index.html", &headers)
}

pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    answer(&name, &headers)
}

fn answer(name: &str, headers: &HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match FILES.iter().find(|(file, _)| *file == name) {
        Some((_, bytes)) => page::secured(policy(host), content_type(name), *bytes),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_to_go_to_the_pages_own_host_alone() {
        for (host, sockets) in [
            (Some("localhost:3001"), " ws://localhost:3001 wss://localhost:3001"),
            (Some("[::1]:3001"), " ws://[::1]:3001 wss://[::1]:3001"),
            (Some("127.0.0.1"), " ws://127.0.0.1 wss://127.0.0.1"),
            (Some("chat.example.com"), " ws://chat.example.com wss://chat.example.com"),
            (Some("localhost *"), ""),
            (Some(""), ""),
            (Some("localhost:1; script-src *"), ""),
            (None, ""),
        ] {
            let policy = policy(host);
            let connect = format!("; connect-src 'self'{sockets}; img-src");
            assert!(policy.to_str().unwrap().contains(&connect), "{policy:?}");
        }
    }

    /// A missing file would otherwise be noticed only in a browser.
    #[test]
    fn the_page_has_all_that_it_loads() {
        let mut loaded = vec!["index.html".to_owned()];
        for (name, bytes) in FILES {
            assert_ne!(content_type(name), "application/octet-stream", "{name}");
            let text = std::str::from_utf8(bytes).unwrap();
            let quoted = text.split(['"', '\'']).map(|quoted| quoted.trim_start_matches("/demo/").trim_start_matches("./"));
            loaded.extend(quoted.filter(|name| is_file(name)).map(str::to_owned));
        }
        assert!(loaded.len() > 3);
        for name in loaded {
            assert!(FILES.iter().any(|(file, _)| *file == name), "{name}");
        }
    }

    fn is_file(name: &str) -> bool {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        plain && [".html", ".css", ".js"].iter().any(|ending| name.ends_with(ending))
    }
}
