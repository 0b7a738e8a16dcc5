use axum::http::{HeaderMap, HeaderValue, header};

/// Whose pages may call. Any page may by default: no cookie is ever read, so a page has only the rights of the token it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every page.
    Any,
    /// Pages of these origins, such as `https://chat.example.com`.
    List(Vec<HeaderValue>),
}

impl AllowedOrigins {
    /// Whether the page that makes this request, if it is one, may do so.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        match (self, headers.get(header::ORIGIN)) {
            (Self::Any, _) | (_, None) => true,
            (Self::List(allowed), Some(origin)) => allowed.contains(origin),
        }
    }
}
