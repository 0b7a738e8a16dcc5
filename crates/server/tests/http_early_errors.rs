//! Tests that early errors are problems like all others, which pages can read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::routing::get;
use chatsphere::http::early_answers;
use chatsphere::request::AllowedOrigins;
use chatsphere_net::listener::{EarlyAnswers, ListenerOptions, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The time-out of each step. It is far above what a step takes, so that a busy machine fails no test.
const AMPLE: Duration = Duration::from_secs(20);
const HERE: &str = "https://chat.example";

fn listed() -> EarlyAnswers {
    early_answers(&AllowedOrigins::List(vec![
        HeaderValue::from_static(HERE),
        HeaderValue::from_static("http://localhost:5173"),
    ]))
}

async fn start(early_answers: EarlyAnswers, options: ListenerOptions) -> SocketAddr {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = ListenerOptions { early_answers, ..options };
    serve(listener, app, options, CancellationToken::new()).unwrap().local_addr()
}

/// Sends `bytes` on a new connection, and reads to its end. A reset would fail the test.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut text = String::new();
    timeout(AMPLE, tcp.read_to_string(&mut text)).await.expect("the connection stays open").unwrap();
    text
}

/// Asserts that an answer is a problem in the standard form, and returns its code.
#[track_caller]
fn problem(text: &str, status: u16) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let line = lines.next().unwrap();
    assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let header = |name: &str| {
        let values: Vec<_> = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).collect();
        assert_eq!(values.len(), 1, "{name} in {text}");
        values[0].1
    };
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("content-length"), body.len().to_string());
    assert_eq!(header("connection"), "close");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert!(header("date").ends_with(" GMT"));
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status);
    assert!(line.ends_with(problem["title"].as_str().unwrap()), "{text}");
    assert_eq!(problem["error"], problem["detail"]);
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    assert_eq!(problem["requestId"], header("x-request-id"));
    problem["code"].as_str().unwrap().to_owned()
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
async fn pages_can_read_early_errors() {
    let any = early_answers(&AllowedOrigins::Any);
    for (answers, allowed, denied) in
        [(any, vec![HERE, "https://other.example"], vec![]), (listed(), vec![HERE], vec!["https://other.example", "null"])]
    {
        let addr =
            start(answers, ListenerOptions { header_timeout: Duration::from_secs(1), ..ListenerOptions::default() }).await;
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
                let text = exchange(addr, request.as_bytes()).await;
                problem(&text, status);
                assert_eq!(is_readable(&text, origin), readable, "{status} {origin}: {text}");
            }
        }
        // A program sends no `Origin`.
        let text = exchange(addr, b"GET / HTTP/1.1\r\n\r\n").await;
        problem(&text, 400);
        assert!(!text.contains(HERE), "{text}");
    }
}

#[tokio::test]
async fn each_early_error_has_its_code() {
    let options =
        ListenerOptions { header_bytes: 256 * 1024, header_timeout: Duration::from_secs(1), ..ListenerOptions::default() };
    let addr = start(listed(), options).await;
    for (status, code, request) in [
        (400, "malformed", "hello?\r\n\r\n".to_owned()),
        (400, "malformed", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "malformed", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()),
        (501, "transfer_encoding_unsupported", "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n".to_owned()),
        (414, "uri_too_long", format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(64 * 1024))),
        (431, "head_too_large", format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(120))),
        (408, "request_timeout", "GET / HTTP/1.1\r\nhost: a\r\n".to_owned()),
    ] {
        assert_eq!(problem(&exchange(addr, request.as_bytes()).await, status), code);
    }
}

#[tokio::test]
async fn each_answer_has_an_id_of_its_own() {
    let addr = start(listed(), ListenerOptions::default()).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        // The id that the client sent is in a head that was not read.
        let text = exchange(addr, b"GET / HTTP/9.9\r\nhost: a\r\nx-request-id: mine\r\n\r\n").await;
        problem(&text, 400);
        assert!(!text.contains("mine"), "{text}");
        answers.push(text.split_once("\r\n\r\n").unwrap().1.to_owned());
    }
    assert_ne!(answers[0], answers[1]);
}

/// A page's call is preceded by a preflight. If that were rejected, the page could not read the error.
#[tokio::test]
async fn a_full_server_tells_pages_when_to_come_back() {
    let addr = start(listed(), ListenerOptions { connections: 1, ..ListenerOptions::default() }).await;
    let mut held = TcpStream::connect(addr).await.unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    timeout(AMPLE, held.read_exact(&mut [0; 12])).await.unwrap().unwrap();
    let preflight = format!(
        "OPTIONS /api/rooms HTTP/1.1\r\nhost: a\r\norigin: {HERE}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: authorization\r\n\r\n"
    );
    let text = exchange(addr, preflight.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
    let head = text.to_ascii_lowercase();
    for field in
        ["access-control-allow-origin: https://chat.example\r\n", "access-control-allow-methods: ", "connection: close\r\n"]
    {
        assert!(head.contains(field), "{text}");
    }
    let call = format!("POST /api/rooms HTTP/1.1\r\nhost: a\r\norigin: {HERE}\r\ncontent-length: 2\r\n\r\n{{}}");
    let text = exchange(addr, call.as_bytes()).await;
    assert_eq!(problem(&text, 503), "too_many_connections");
    assert!(is_readable(&text, HERE) && text.to_ascii_lowercase().contains("\r\nretry-after: "), "{text}");
    // A load balancer's OPTIONS is not taken for a preflight.
    let text = exchange(addr, b"OPTIONS / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(problem(&text, 503), "too_many_connections");
}
