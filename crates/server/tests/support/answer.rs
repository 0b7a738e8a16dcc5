use std::collections::HashMap;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

/// An answer with its complete body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.expect("the answer's body").to_vec() }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header in ASCII"))
    }

    /// Asserts a success with this status, and returns the JSON.
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// Asserts that this is a problem in the standard form, and returns its code.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        assert_eq!(content_type, Some("application/problem+json"), "{} {}", self.status, self.text());
        let body = self.json();
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["title"], self.status.canonical_reason().unwrap());
        assert_eq!(body["error"], body["detail"]);
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        assert_eq!(body["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        body["code"].as_str().expect("a code").to_owned()
    }

    /// Asserts a problem with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        let found = self.problem();
        assert_eq!((self.status.as_u16(), found.as_str()), (status, code), "{}", self.text());
        self.json()
    }

    /// Asserts that the value of this field is rejected.
    #[track_caller]
    pub(crate) fn invalid(self, field: &str) {
        let body = self.refused(400, "invalid");
        assert_eq!(body["errors"][0]["field"], field, "{body}");
    }

    /// Returns the addresses of the header `Link`, by relation.
    pub(crate) fn links(&self) -> HashMap<String, String> {
        let Some(header) = self.header("link") else { return HashMap::new() };
        let link = |link: &str| {
            let (target, relation) = link.split_once(">; rel=\"").expect("a link");
            (relation.trim_end_matches('"').to_owned(), target.trim_start_matches('<').to_owned())
        };
        header.split(", ").map(link).collect()
    }
}
