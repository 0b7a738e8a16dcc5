use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names one request in the answer, in the body of an error and in the log.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's own if it is harmless in a log, else a new one.
    pub(crate) fn take(headers: &HeaderMap) -> Self {
        match headers.get(&X_REQUEST_ID) {
            Some(value) if is_sane(value.as_bytes()) => Self(value.clone()),
            _ => Self::random(),
        }
    }

    pub(crate) fn random() -> Self {
        let bits: u128 = rand::random();
        let text = format!("{bits:032x}");
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("none")))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        for good in ["a", "0198c0de-7c1a-7000-8000-0123456789ab", "a.b_c-D", &"x".repeat(64)] {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(good).unwrap())]);
            assert_eq!(RequestId::take(&headers).as_str(), good);
        }
        for bad in ["", "a b", "a\"b", "ü", "a\tb", &"x".repeat(65)] {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(bad).unwrap())]);
            assert_ne!(RequestId::take(&headers).as_str(), bad);
        }
    }
}
