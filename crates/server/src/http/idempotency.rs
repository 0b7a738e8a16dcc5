use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponseParts, ResponseParts};
use chatsphere_core::{Caller, Idempotency};
use sha2::{Digest, Sha256};
use std::convert::Infallible;

use super::failure::Failure;
use super::state::HttpState;
use crate::auth::ContentKey;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The header `Idempotency-Key` of a POST, if present.
pub(crate) struct IdempotencyKey(Option<Keyed>);

struct Keyed {
    key: HeaderValue,
    method: String,
    path: String,
}

impl FromRequestParts<Arc<HttpState>> for IdempotencyKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        if parts.method != Method::POST {
            return Ok(Self(None));
        }
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = values.next() else { return Ok(Self(None)) };
        let longest = http.chat.limits.idempotency_key_bytes;
        let sane = (1..=longest).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
        if !sane || values.next().is_some() {
            let message = format!("must be there once, with 1 to {longest} visible ASCII characters");
            return Err(Failure::invalid("Idempotency-Key", message));
        }
        let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
        Ok(Self(Some(Keyed { key: key.clone(), method, path })))
    }
}

impl IdempotencyKey {
    /// The key within the caller's scope, and the hashes of the body.
    pub(crate) fn bind(self, caller: &Caller, body: &[u8], content_key: &ContentKey) -> Option<Idempotency> {
        let Keyed { key, method, path } = self.0?;
        let mut hash = Sha256::new();
        let user = caller.user.id.to_string();
        for part in [caller.token_type.as_str().as_bytes(), user.as_bytes(), method.as_bytes(), path.as_bytes(), key.as_bytes()]
        {
            // The length prefixes make the hashed list unambiguous.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let (unkeyed_body, body) = (Sha256::digest(body).into(), content_key.of_body(body));
        Some(Idempotency { key: hash.finalize().into(), body, unkeyed_body })
    }
}

/// A header that marks the answer as that of an earlier call.
pub(crate) struct Replayed(pub(crate) bool);

impl IntoResponseParts for Replayed {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        if self.0 {
            parts.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(parts)
    }
}
