//! Tolerated spellings of paths.

use axum::Router;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri};
use tower::{Service, service_fn};

/// Accepts a trailing slash, and `OPTIONS *`, which concerns the server as a whole and is answered like `OPTIONS /readyz` (RFC
/// 9110, section 9.3.7).
///
/// Only requests without a route are examined, so that others lose no time.
pub(super) fn forgiving(routes: Router) -> Router {
    let again = routes.clone();
    routes.fallback_service(service_fn(move |mut request: Request| {
        let path = request.uri().path();
        let meant = if *request.method() == Method::OPTIONS && path == "*" { Some("/readyz") } else { without_slash(path) };
        if let Some(uri) = meant.and_then(|path| at(request.uri(), path)) {
            *request.uri_mut() = uri;
        }
        again.clone().call(request)
    }))
}

/// The path without its trailing slash. Two slashes are not tolerated.
fn without_slash(path: &str) -> Option<&str> {
    path.strip_suffix('/').filter(|rest| !rest.is_empty() && !rest.ends_with('/'))
}

/// The same URI with another path.
fn at(uri: &Uri, path: &str) -> Option<Uri> {
    let path_and_query = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_trailing_slash_is_removed() {
        for (path, expected) in [
            ("/api/rooms/", Some("/api/rooms")),
            ("/api//rooms/", Some("/api//rooms")),
            ("/api/rooms", None),
            ("/api/rooms//", None),
            ("/", None),
            ("//", None),
            ("*", None),
        ] {
            assert_eq!(without_slash(path), expected, "{path}");
        }
    }

    #[test]
    fn all_but_the_path_stays() {
        for (uri, expected) in [("/a/?b=/", "/a?b=/"), ("http://h:1/a/?b", "http://h:1/a?b"), ("/a/", "/a")] {
            assert_eq!(at(&uri.parse().unwrap(), "/a").unwrap(), expected);
        }
        assert_eq!(at(&"*".parse().unwrap(), "/readyz").unwrap(), "/readyz");
    }
}
