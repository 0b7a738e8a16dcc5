use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::page;

/// The page loads its own files, talks to its own server, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Every file of the page, by its name.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/demo_files.rs"));

pub(super) async fn page() -> Response {
    answer("index.html")
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    answer(&name)
}

fn answer(name: &str) -> Response {
    match FILES.iter().find(|(file, _)| *file == name) {
        Some((_, bytes)) => page::secured(POLICY, content_type(name), *bytes),
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

    /// A file that is missing would show only in a browser.
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
