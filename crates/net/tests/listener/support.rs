use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use chatsphere_net::listener::{
    BodyTimeout, EarlyAnswers, ListenerHandle, ListenerOptions, PreUpgrade, PreUpgradeHandler, TakeOver, serve,
};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Far longer than any step takes, so that a busy machine fails no test.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(200);
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: ListenerHandle,
    pub(crate) shutdown: CancellationToken,
}

/// Options with a pre-upgrade handler that takes nothing over. An early error is answered with its name.
pub(crate) fn options() -> ListenerOptions {
    let early_answers = EarlyAnswers::new(|error, _, _| {
        let mut answer = Response::new(format!("{error:?}").into_bytes());
        *answer.status_mut() = error.status();
        answer
    });
    ListenerOptions { pre_upgrade: PreUpgradeHandler::new(Arc::new(Ignores)), early_answers, ..ListenerOptions::default() }
}

struct Ignores;

#[async_trait]
impl PreUpgrade for Ignores {
    async fn inspect(&self, _: &Parts) -> Option<TakeOver> {
        None
    }
}

/// Options with timeouts that no test reaches.
pub(crate) fn patient() -> ListenerOptions {
    ListenerOptions { header_timeout: LONG, idle_timeout: LONG, write_timeout: LONG, body_timeout: LONG, ..options() }
}

pub(crate) fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(slow))
        .route("/large", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
        .route("/echo", post(echo))
        .route("/unread", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
}

async fn slow() -> &'static str {
    tokio::time::sleep(SHORT * 3).await;
    "slow"
}

async fn echo(body: axum::body::Body) -> (StatusCode, Bytes) {
    match body.collect().await {
        Ok(body) => (StatusCode::OK, body.to_bytes()),
        Err(error) => {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                if error.is::<BodyTimeout>() {
                    return (StatusCode::REQUEST_TIMEOUT, Bytes::new());
                }
                source = error.source();
            }
            (StatusCode::BAD_REQUEST, Bytes::new())
        }
    }
}

pub(crate) async fn start(app: Router, options: ListenerOptions) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = CancellationToken::new();
    let handle = serve(listener, app, options, shutdown.clone()).unwrap();
    Server { addr: handle.local_addr(), handle, shutdown }
}

impl Server {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends `bytes` on a new connection and reads to its end.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(bytes).await.unwrap();
        read_to_end(&mut tcp).await
    }
}

/// Reads to the end of the connection. A reset fails the test.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    timeout(AMPLE, stream.read_to_end(&mut text)).await.expect("the connection stays open").unwrap();
    String::from_utf8(text).unwrap()
}

/// Reads until the data ends in `end`.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    timeout(AMPLE, async {
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let read = stream.read(&mut byte).await.unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {end:?}"));
    String::from_utf8(text).unwrap()
}

/// The time until the connection ends, in any way.
pub(crate) async fn time_to_close(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let start = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    timeout(AMPLE, async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} })
        .await
        .expect("the connection stays open");
    start.elapsed()
}

/// Asserts that an answer is an early error, and returns its name.
#[track_caller]
pub(crate) fn early_error(text: &str, status: u16) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    assert!(lines.next().unwrap().starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let header = |name: &str| {
        let values: Vec<_> = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).collect();
        assert_eq!(values.len(), 1, "{name} in {text}");
        values[0].1
    };
    assert_eq!(header("content-length"), body.len().to_string());
    assert_eq!(header("connection"), "close");
    assert!(header("date").ends_with(" GMT"));
    body.to_owned()
}
