//! Pages read the answers that are given before any call.

use axum::http::HeaderValue;
use chatsphere::http::{AllowedOrigins, cross_origin};
use chatsphere::listener::{CrossOrigin, ListenerOptions};
use tokio::io::AsyncWriteExt as _;

use crate::support::{GET, SHORT, app, patient, problem, read_to_end, read_until, start};

const HERE: &str = "https://chat.example";

fn listed() -> CrossOrigin {
    cross_origin(&AllowedOrigins::List(vec![HeaderValue::from_static(HERE), HeaderValue::from_static("http://localhost:5173")]))
}

/// Whether a page of `origin` may read the answer.
fn is_readable(answer: &str, origin: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let value = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    };
    let allowed = value("access-control-allow-origin").is_some_and(|allowed| allowed == "*" || allowed == origin);
    let exposes = |name| value("access-control-expose-headers").is_some_and(|list| list.to_ascii_lowercase().contains(name));
    allowed && exposes("retry-after") && exposes("x-request-id")
}

#[tokio::test]
async fn what_is_refused_before_a_call() {
    let any = cross_origin(&AllowedOrigins::Any);
    for (cross_origin, allowed, denied) in
        [(any, vec![HERE, "https://other.example"], vec![]), (listed(), vec![HERE], vec!["https://other.example", "null"])]
    {
        let options = ListenerOptions { cross_origin, header_timeout: SHORT * 5, ..patient() };
        let server = start(app(), options).await;
        for (origin, readable) in allowed.iter().map(|it| (*it, true)).chain(denied.iter().map(|it| (*it, false))) {
            let large = "y".repeat(100_000);
            let fields = "x: y\r\n".repeat(120);
            for (status, request) in [
                (400, format!("GET / HTTP/1.1\r\nOrigin: {origin}\r\n\r\n")),
                (400, format!("GET / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\nno colon\r\n\r\n")),
                (400, format!("POST / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\ncontent-length: x\r\n\r\n")),
                (
                    501,
                    format!(
                        "POST / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
                    ),
                ),
                (431, format!("GET / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\nx: {large}\r\n\r\n")),
                (431, format!("GET / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\n{fields}\r\n")),
                (408, format!("GET / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\nx: y\r\n")),
            ] {
                let text = server.exchange(request.as_bytes()).await;
                problem(&text, status);
                assert_eq!(is_readable(&text, origin), readable, "{status} {origin}: {text}");
            }
        }
        // A program is no page.
        let text = server.exchange(b"GET / HTTP/1.1\r\n\r\n").await;
        problem(&text, 400);
        assert!(!text.contains(HERE), "{text}");
    }
}

/// A page's call is preceded by a preflight. Were that refused, the page would learn nothing.
#[tokio::test]
async fn a_full_server_tells_pages_when_to_come_back() {
    let server = start(app(), ListenerOptions { connections: 1, cross_origin: listed(), ..patient() }).await;
    let mut held = server.connect().await;
    held.write_all(GET).await.unwrap();
    read_until(&mut held, "hello").await;
    let preflight = format!(
        "OPTIONS /api/rooms HTTP/1.1\r\nhost: a\r\norigin: {HERE}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: authorization\r\n\r\n"
    );
    let text = server.exchange(preflight.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
    let head = text.to_ascii_lowercase();
    for field in
        ["access-control-allow-origin: https://chat.example\r\n", "access-control-allow-methods: ", "connection: close\r\n"]
    {
        assert!(head.contains(field), "{text}");
    }
    let call = format!("POST /api/rooms HTTP/1.1\r\nhost: a\r\norigin: {HERE}\r\ncontent-length: 2\r\n\r\n{{}}");
    let text = server.exchange(call.as_bytes()).await;
    assert_eq!(problem(&text, 503), "too_many_connections");
    assert!(is_readable(&text, HERE) && text.to_ascii_lowercase().contains("\r\nretry-after: "), "{text}");
    // Nor is a load balancer's OPTIONS taken for a preflight.
    let text = server.exchange(b"OPTIONS / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(problem(&text, 503), "too_many_connections");
    read_to_end(&mut server.connect().await).await;
}
