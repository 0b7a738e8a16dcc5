//! An answer that is sent before the end of its request's body arrives nevertheless.

use std::time::Duration;

use chatsphere_net::listener::ListenerOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::support::{AMPLE, SHORT, app, patient, read_to_end, read_until, start, time_to_close};
use crate::tls::{Identity, connect, connector};

/// Like most clients: sends the whole body, then reads the answer.
async fn upload(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), size: usize, pause: Duration) -> String {
    let head = format!("POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; size.min(256 * 1024)];
    let mut left = size;
    while left > 0 {
        let some = left.min(piece.len());
        stream.write_all(&piece[..some]).await.expect("the server still reads");
        stream.flush().await.expect("the server still reads");
        left -= some;
        sleep(pause).await;
    }
    read_to_end(stream).await
}

#[tokio::test]
async fn large_and_slow_uploads_get_their_answer_over_tls_and_without() {
    let identity = Identity::new();
    let plain = start(app(), patient()).await;
    let secure = start(app(), ListenerOptions { tls: Some(identity.tls()), ..patient() }).await;
    for (size, pause) in [(2_000_000, Duration::ZERO), (20_000_000, Duration::ZERO), (2_000_000, SHORT)] {
        let text = upload(&mut plain.connect().await, size, pause).await;
        assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("connection: close"), "{text}");
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut tls = connect(&secure, &connector(&identity.der, &[version], &[])).await.unwrap();
            let text = upload(&mut tls, size, pause).await;
            assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
        }
    }
}

#[tokio::test]
async fn a_chunked_upload_gets_its_answer() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..64 {
        tcp.write_all(chunk.as_bytes()).await.unwrap();
    }
    tcp.write_all(b"0\r\n\r\n").await.unwrap();
    let text = read_to_end(&mut tcp).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

/// The body is drained after the client has the answer.
#[tokio::test]
async fn the_answer_does_not_wait_for_the_body() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
    let head = read_until(&mut tcp, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    drop(tcp);
}

#[tokio::test]
async fn a_short_body_that_nobody_wants_does_not_cost_the_connection() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    for _ in 0..3 {
        tcp.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n").await.unwrap();
        let head = read_until(&mut tcp, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 413 ") && !head.contains("connection: close"), "{head}");
        tcp.write_all(&[b'x'; 60_000]).await.unwrap();
    }
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_until(&mut tcp, "hello").await;
}

/// RFC 9110, section 10.1.1: a client that expected `100 Continue` and got a final answer does not send the body.
#[tokio::test]
async fn whoever_asks_first_is_refused_without_sending() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    let head = b"POST /unread HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 20\r\n\r\n";
    tcp.write_all(head).await.unwrap();
    let text = read_to_end(&mut tcp).await;
    assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("connection: close"), "{text}");
    // A client whose body is wanted gets `100 Continue`.
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut tcp, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    tcp.write_all(b"abc").await.unwrap();
    assert!(read_until(&mut tcp, "abc").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn whoever_never_ends_is_cut_off() {
    let server = start(app(), patient()).await;
    let mut silent = server.connect().await;
    silent.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n").await.unwrap();
    let mut endless = server.connect().await;
    endless.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(0x10_0000));
    let sent = timeout(AMPLE, async {
        let mut sent = 0_usize;
        while endless.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
            assert!(sent < 256 * 1024 * 1024, "it is read without end");
        }
        sent
    });
    assert!(sent.await.expect("neither read nor cut off") >= 64 * 1024 * 1024);
    assert!(time_to_close(&mut silent).await < AMPLE);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_bodies_that_nobody_reads() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n").await.unwrap();
    read_until(&mut tcp, "\r\n\r\n").await;
    assert!(server.handle.drained(Duration::from_secs(4)).await, "cut off");
    let mut rest = Vec::new();
    let _ = timeout(AMPLE, tcp.read_to_end(&mut rest)).await.expect("the connection stays open");
}

/// Beyond the limit of patient draining, clients are still answered.
#[tokio::test]
async fn many_at_once_are_answered() {
    let server = start(app(), patient()).await;
    let mut all = Vec::new();
    for _ in 0..160 {
        let mut tcp = server.connect().await;
        tcp.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n").await.unwrap();
        all.push(tcp);
    }
    for mut tcp in all {
        let head = read_until(&mut tcp, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    }
}
