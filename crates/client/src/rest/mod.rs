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

pub use messages::Place;
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
    use chatsphere_protocol::Open;
    use chatsphere_types::{RoomId, Seq, Timestamp, UserId};
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::EventKind;

    const ID: &str = "0198c0de-7c1a-7000-8000-0123456789ac";
    const TIME: &str = "2026-11-22T09:56:10.473Z";

    /// A client whose next call gets this answer.
    async fn answered_with(status: u16, body: Value) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), "t").unwrap();
        let body = body.to_string();
        let answer = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        client
    }

    fn id() -> UserId {
        UserId::new(Timestamp::from_millis(1))
    }

    #[test]
    fn a_problem_is_reported_whole_and_a_foreign_answer_in_part() {
        let body = br#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"slower","code":"rate_limited",
            "requestId":"r1","error":"slower"}"#;
        let error = refusal(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(2)), body);
        assert_eq!((error.code.as_str(), error.request_id.as_deref()), ("rate_limited", Some("r1")));
        assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
        let error = refusal(StatusCode::BAD_GATEWAY, None, "<html>".repeat(100).as_bytes());
        assert_eq!((error.code.as_str(), error.detail.len()), ("http_error", SHOWN_OF_FOREIGN_BODY));
    }

    #[tokio::test]
    async fn values_of_a_newer_server_are_passed_over() {
        let user = json!({"id": ID, "username": "ada", "role": "READER", "badge": 1, "createdAt": TIME, "updatedAt": TIME});
        let answered = answered_with(200, json!([user])).await.users(None).await.unwrap();
        assert_eq!(answered.items[0].role, Open::Unknown("READER".to_owned()));
        let profile = answered_with(200, json!({"user": user})).await.profile().await.unwrap();
        assert_eq!(profile.username, "ada");

        let token = json!({"id": ID, "type": "BOT", "userId": ID, "user": user, "permissions": {"read": true, "pin": true},
            "createdAt": TIME, "expiresAt": TIME});
        let tokens = answered_with(200, json!([token])).await.tokens(None).await.unwrap();
        assert_eq!(tokens.items[0].token_type, Open::Unknown("BOT".to_owned()));
        assert!(tokens.items[0].permissions.read);
    }

    #[tokio::test]
    async fn an_unknown_kind_of_event_has_its_place_in_a_page() {
        let room = RoomId::from_uuid(*id().as_uuid());
        let pinned = json!({"type": "pinned", "roomId": room, "seq": 7, "createdAt": TIME, "by": {"role": "READER"}});
        let events = answered_with(200, json!([pinned])).await.events(room, Seq::ZERO, None).await.unwrap();
        assert_eq!(events.items[0].seq.get(), 7);
        assert!(matches!(&events.items[0].kind, EventKind::Unknown { kind, .. } if kind == "pinned"));
    }

    #[tokio::test]
    async fn an_unknown_error_code_is_handed_on() {
        let problem = json!({"type": "about:blank", "title": "Gone", "status": 410, "detail": "d", "code": "room_archived",
            "requestId": "r1", "error": "d", "hint": {}});
        let error = answered_with(410, problem).await.user(id()).await.unwrap_err();
        assert_eq!(error.refusal().map(|refusal| (refusal.status, refusal.code.as_str())), Some((410, "room_archived")));
    }
}
