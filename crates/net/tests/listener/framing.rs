//! The length of a body must be unambiguous, against request smuggling through a proxy.

use tokio::io::AsyncWriteExt as _;

use crate::support::{app, early_error, patient, read_to_end, read_until, start};

#[tokio::test]
async fn transfer_codings_other_than_chunked_are_not_taken_for_it() {
    let server = start(app(), patient()).await;
    let request = |fields: &str| {
        format!("POST /echo HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
    };
    for fields in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked;a=b, chunked",
        "Transfer-Encoding: identity, Chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: gzip",
        "transfer-encoding: identity",
    ] {
        let text = server.exchange(request(fields).as_bytes()).await;
        assert_eq!(early_error(&text, 501), "UnknownCoding", "{fields}");
    }
    for fields in [
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "content-length: 3\r\ntransfer-encoding: chunked",
        "Content-Length: 3\r\nX: y\r\nTransfer-Encoding: gzip, chunked",
        "transfer-encoding: gzip\r\ncontent-length: 3",
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3, 3",
        "content-length: +3",
    ] {
        let text = server.exchange(request(fields).as_bytes()).await;
        assert!(["TwoLengths", "Malformed"].contains(&early_error(&text, 400).as_str()), "{fields}: {text}");
        assert!(!text.contains("hello"), "what follows is no request: {text}");
    }
    for fields in ["transfer-encoding: chunked", "Transfer-Encoding:\tCHUNKED "] {
        let closing = format!("connection: close\r\n{fields}");
        let text = server.exchange(request(&closing).as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("abc"), "{text}");
    }
}

#[tokio::test]
async fn http_1_0_has_no_transfer_codings() {
    let server = start(app(), patient()).await;
    let text = server.exchange(b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400 ") || text.starts_with("HTTP/1.0 400 "), "{text}");
    assert!(text.contains("Malformed") || text.contains("UnknownCoding"), "{text}");
}

/// The second request on a connection, in pieces, is checked like the first.
#[tokio::test]
async fn later_requests_are_judged_alike() {
    let server = start(app(), patient()).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
    read_until(&mut tcp, "abc").await;
    for piece in ["POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-enc", "oding: chunked\r\ncontent-leng", "th: 3\r\n", "\r\n"] {
        tcp.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    tcp.write_all(b"3\r\nabc\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(early_error(&read_to_end(&mut tcp).await, 400), "TwoLengths");
    // The length of the previous body has no influence.
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
    read_until(&mut tcp, "abc").await;
    let chunked =
        b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n";
    tcp.write_all(chunked).await.unwrap();
    let text = read_to_end(&mut tcp).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("def"), "{text}");
}
