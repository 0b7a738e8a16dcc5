use chatsphere_net::listener::ListenerOptions;
use tokio::io::AsyncWriteExt as _;

use crate::support::{app, early_error, patient, read_to_end, read_until, start};

#[tokio::test]
async fn keeps_a_connection_and_answers_pipelined_requests_in_order() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    tcp.write_all(
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
          GET /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await
    .unwrap();
    let text = read_to_end(&mut tcp).await;
    let (first, second, third) = (text.find("hello").unwrap(), text.find("abc").unwrap(), text.find("404").unwrap());
    assert!(first < second && second < third, "{text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 3, "{text}");
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let server = start(app(), patient()).await;
    let text = server.exchange(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.0 200 ") && text.ends_with("hello"), "{text}");
}

#[tokio::test]
async fn http_1_0_is_kept_alive_if_it_asks() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    for _ in 0..2 {
        tcp.write_all(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
        read_until(&mut tcp, "hello").await;
    }
}

#[tokio::test]
async fn http_1_1_needs_exactly_one_host() {
    let server = start(app(), patient()).await;
    for fields in ["", "host: a\r\nhost: a\r\n"] {
        let text = server.exchange(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).await;
        assert_eq!(early_error(&text, 400), "HostMissing");
    }
    let text = server.exchange(b"GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.0 400 "), "{text}");
}

#[tokio::test]
async fn garbage_is_answered_with_400_and_closed() {
    let server = start(app(), patient()).await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello"[..], b"hello?\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        assert_eq!(early_error(&server.exchange(garbage).await, 400), "Malformed");
    }
    let text = server.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!text.contains("200"), "{text}");
}

#[tokio::test]
async fn garbage_behind_a_request_is_answered_after_it() {
    let server = start(app(), patient()).await;
    // In one piece, and in two.
    let text = server.exchange(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nhello?\r\n\r\n").await;
    let (first, second) = text.split_once("hello").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 "), "{text}");
    assert_eq!(early_error(second, 400), "Malformed");
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_until(&mut tcp, "hello").await;
    tcp.write_all(b"hello?\r\n\r\n").await.unwrap();
    assert_eq!(early_error(&read_to_end(&mut tcp).await, 400), "Malformed");
}

#[tokio::test]
async fn an_address_too_long_is_answered_with_414() {
    // With the default limit, no target is too long for hyper.
    let server = start(app(), ListenerOptions { header_bytes: 256 * 1024, ..patient() }).await;
    let text = server.exchange(format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(64 * 1024)).as_bytes()).await;
    assert_eq!(early_error(&text, 414), "TargetTooLong");
}

#[tokio::test]
async fn a_head_too_large_is_answered_with_431() {
    let server = start(app(), patient()).await;
    let limit = patient().header_bytes;
    // Much more than the server reads, so that data is unread when it closes; the answer must arrive nevertheless.
    for size in [limit, 4 * limit] {
        let text = server.exchange(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(size)).as_bytes()).await;
        assert_eq!(early_error(&text, 431), "HeadTooLarge");
    }
    let fits = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(limit - 100));
    let text = server.exchange(fits.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn too_many_fields_are_answered_with_431() {
    let server = start(app(), patient()).await;
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{}\r\n", "x: y\r\n".repeat(fields));
    let text = server.exchange(head(98).as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let text = server.exchange(head(99).as_bytes()).await;
    assert_eq!(early_error(&text, 431), "HeadTooLarge");
}

#[tokio::test]
async fn an_answer_given_before_the_body_has_come_is_not_lost() {
    let server = start(app(), patient()).await;
    for _ in 0..20 {
        let mut tcp = server.connect().await;
        let (mut read, mut write) = tcp.split();
        write.write_all(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 800000\r\n\r\n").await.unwrap();
        let body = vec![0; 800_000];
        let (_, text) = tokio::join!(write.write_all(&body), read_to_end(&mut read));
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    }
}
