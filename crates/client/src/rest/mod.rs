//! REST calls, one file per resource.

mod events;
mod health;
mod members;
mod messages;
mod page;
mod profile;
mod rooms;
mod tokens;
mod users;

use std::time::Duration;

use chatsphere_protocol::rest::Problem;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LINK, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use page::{Page, PageLink};

use crate::client::Client;
use crate::error::{ApiError, Error};

/// An answer's body, and the links to adjacent pages.
struct Answer {
    body: Vec<u8>,
    links: page::Links,
}

/// Maximum length shown of a body that did not come from the server.
const SHOWN_OF_FOREIGN_BODY: usize = 200;

impl Client {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Makes a call and parses its answer.
    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<T, Error> {
        self.call_at(method, self.address(path)?, body).await
    }

    async fn get_at<T: DeserializeOwned>(&self, address: Url) -> Result<T, Error> {
        self.call_at(Method::GET, address, None::<&()>).await
    }

    async fn call_at<T: DeserializeOwned>(
        &self,
        method: Method,
        address: Url,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let answer = self.exchange(method, address, body).await?;
        serde_json::from_slice(&answer.body).map_err(Error::Answer)
    }

    async fn exchange(&self, method: Method, address: Url, body: Option<&impl Serialize>) -> Result<Answer, Error> {
        let mut request = self.http().request(method, address).header(AUTHORIZATION, self.token().bearer()?);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(serde_json::to_vec(body).map_err(Error::Answer)?);
        }
        let response = request.send().await.map_err(Error::Transport)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let links = page::Links::read(response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok()));
        let body = response.bytes().await.map_err(Error::Transport)?.to_vec();
        if status.is_success() {
            Ok(Answer { body, links })
        } else {
            Err(Box::new(refusal(status, retry_after.map(Duration::from_secs), &body)).into())
        }
    }
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> ApiError {
    match serde_json::from_slice::<Problem<'static>>(body) {
        Ok(problem) => ApiError {
            status: status.as_u16(),
            code: problem.code.into_owned(),
            detail: problem.detail.into_owned(),
            request_id: Some(problem.request_id.into_owned()),
            retry_after,
            fields: problem.errors,
        },
        Err(_) => ApiError {
            status: status.as_u16(),
            code: "http_error".to_owned(),
            detail: String::from_utf8_lossy(body).chars().take(SHOWN_OF_FOREIGN_BODY).collect(),
            request_id: None,
            retry_after,
            fields: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_whole_and_a_foreign_answer_in_part() {
        let body = br#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"slower","code":"rate_limited",
            "requestId":"r1","error":"slower"}"#;
        let error = refusal(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(2)), body);
        assert_eq!((error.code.as_str(), error.request_id.as_deref()), ("rate_limited", Some("r1")));
        assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
        let error = refusal(StatusCode::BAD_GATEWAY, None, "<html>".repeat(100).as_bytes());
        assert_eq!((error.code.as_str(), error.detail.len()), ("http_error", SHOWN_OF_FOREIGN_BODY));
    }
}
