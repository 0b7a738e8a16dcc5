use std::convert::Infallible;

use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponseParts, ResponseParts};
use chatsphere_core::store::Cursor;

use super::failure::Failure;
use super::query::Query;
use crate::auth::Cursors;

/// The header `Link` (RFC 8288) with the adjacent pages, if any.
#[derive(Default)]
pub(crate) struct Links(Vec<String>);

impl Links {
    /// A link to the next page in the list's order.
    pub(crate) fn next(query: &Query, cursors: &Cursors<'_>, next: Option<Cursor>) -> Result<Self, Failure> {
        let mut links = Self::default();
        if let Some(next) = next {
            links.add(query, "next", "cursor", &cursors.seal(next)?);
        }
        Ok(links)
    }

    pub(crate) fn add(&mut self, query: &Query, relation: &str, name: &str, value: &str) {
        self.0.push(format!("<{}>; rel=\"{relation}\"", query.link(name, value)));
    }
}

impl IntoResponseParts for Links {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        if let (false, Ok(value)) = (self.0.is_empty(), HeaderValue::try_from(self.0.join(", "))) {
            parts.headers_mut().insert(LINK, value);
        }
        Ok(parts)
    }
}
