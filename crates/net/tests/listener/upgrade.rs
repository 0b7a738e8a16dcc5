use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use axum::routing::get;
use chatsphere_net::listener::{Duplex, ListenerOptions, Upgraded, UpgradedStream, take_stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{AMPLE, GET, SHORT, patient, read_until, start};

pub(crate) const UPGRADE: &[u8] = b"GET /up HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";

/// A router that upgrades every request, and the upgraded connections.
pub(crate) fn upgrading() -> (Router, mpsc::UnboundedReceiver<Upgraded>) {
    let (taken, upgraded) = mpsc::unbounded_channel();
    let upgrade = move |mut request: Request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move { taken.send(take_stream(upgrade.await.unwrap())).unwrap() });
        let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        answer.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "echo").body(Body::empty()).unwrap()
    };
    (Router::new().route("/", get(|| async { "hello" })).route("/up", get(upgrade)), upgraded)
}

#[tokio::test]
async fn the_tcp_stream_comes_out_with_what_was_read_ahead() {
    let (app, mut upgraded) = upgrading();
    let server = start(app, patient()).await;
    let mut tcp = server.connect().await;
    let ahead: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    tcp.write_all(&[UPGRADE, &ahead].concat()).await.unwrap();
    let head = read_until(&mut tcp, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let taken = upgraded.recv().await.unwrap();
    assert!(!taken.read_ahead.is_empty(), "the bytes behind the request were not read with it");
    let UpgradedStream::Plain(mut server_side) = taken.stream else { panic!("not the plain stream") };
    assert!(server_side.nodelay().unwrap());
    let mut received = taken.read_ahead.to_vec();
    while received.len() < ahead.len() {
        assert_ne!(server_side.read_buf(&mut received).await.unwrap(), 0);
    }
    assert_eq!(received, ahead);
    server_side.write_all(b"and back.").await.unwrap();
    assert_eq!(read_until(&mut tcp, ".").await, "and back.");
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place_but_no_deadline_and_no_drain() {
    let (app, mut upgraded) = upgrading();
    let options = ListenerOptions {
        connections: 1,
        header_timeout: SHORT,
        idle_timeout: SHORT,
        write_timeout: SHORT,
        body_timeout: SHORT,
        ..patient()
    };
    let server = start(app, options).await;
    let mut tcp = server.connect().await;
    tcp.write_all(UPGRADE).await.unwrap();
    read_until(&mut tcp, "\r\n\r\n").await;
    let taken = upgraded.recv().await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    let text = server.exchange(GET).await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(server.handle.drained(AMPLE).await, "the listener has nothing left to wait for");
    let UpgradedStream::Plain(mut server_side) = taken.stream else { panic!("not the plain stream") };
    server_side.write_all(b"alive.").await.unwrap();
    assert_eq!(read_until(&mut tcp, ".").await, "alive.");
}

#[tokio::test]
async fn a_place_comes_free_when_the_upgraded_connection_ends() {
    let (app, mut upgraded) = upgrading();
    let server = start(app, ListenerOptions { connections: 1, ..patient() }).await;
    for _ in 0..3 {
        let mut tcp = server.connect().await;
        tcp.write_all(UPGRADE).await.unwrap();
        let head = read_until(&mut tcp, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let taken = upgraded.recv().await.unwrap();
        let slot = taken.slot.unwrap();
        // The connection's task drops its own reference shortly after the upgrade.
        tokio::time::timeout(AMPLE, async {
            while Arc::strong_count(&slot) > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_connection_of_another_server_is_of_use_too() {
    let (app, mut upgraded) = upgrading();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move {
        use hyper_util::rt::TokioIo;
        use hyper_util::service::TowerToHyperService;
        let (tcp, _) = listener.accept().await.unwrap();
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(tcp), TowerToHyperService::new(app))
            .with_upgrades();
        tokio::select! { _ = connection => {}, () = stopped => {} }
    });
    let mut tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
    tcp.write_all(&[UPGRADE, b"ahead."].concat()).await.unwrap();
    read_until(&mut tcp, "\r\n\r\n").await;
    let taken = upgraded.recv().await.unwrap();
    assert!(taken.slot.is_none());
    let UpgradedStream::Other(mut stream) = taken.stream else { panic!("taken for one of the listener's") };
    assert_eq!(read_until(&mut stream, ".").await, "ahead.");
    echo_once(&mut *stream, &mut tcp).await;
    stop.cancel();
    serving.await.unwrap();
}

async fn echo_once(stream: &mut dyn Duplex, tcp: &mut tokio::net::TcpStream) {
    stream.write_all(b"and back.").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(read_until(tcp, ".").await, "and back.");
}
