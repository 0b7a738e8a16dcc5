use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::page;

/// The page loads its own files, talks to its own server, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Embeds the demo's files. A test compares the list with the folder.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        const FILES: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("../../demo/", $name)))),+];
    };
}
files![
    "api.js",
    "backoff.js",
    "chat.js",
    "connection.js",
    "demo.css",
    "demo.js",
    "enter.js",
    "index.html",
    "members.js",
    "message-list.js",
    "outbox.js",
    "room-log.js",
    "room.js",
    "rows.js",
    "status.js",
    "windows.js",
];

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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_carried() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo");
        let there = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> =
            there.filter(|name| [".html", ".css", ".js", ".svg"].iter().any(|ending| name.ends_with(ending))).collect();
        let carried: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(carried, there);
    }
}
