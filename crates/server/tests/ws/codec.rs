//! Tests of RFC 6455 on the wire.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::AMPLE;
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT, frame};
use crate::server::Server;

on_every_database!(
    each_breach_is_closed_with_its_code,
    control_frames_are_answered,
    a_close_is_echoed_and_ends_at_once,
    a_message_may_come_in_any_pieces,
    many_frames_may_come_in_one_piece,
);

const START: u8 = 0x01;
const MIDDLE: u8 = 0x00;
const END: u8 = 0x80;

async fn each_breach_is_closed_with_its_code(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut other = server.connect(&bob.token).await;
    other.join(room, json!({})).await;
    let large = vec![b' '; 65_537];
    let half = &large[..40_000];
    let unmasked = [&[TEXT, 2][..], b"{}"].concat();
    // A header that announces more than is allowed, without the payload.
    let declared = [&[TEXT, 0xff][..], &(1u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (bytes, code) in [
        (frame(BINARY, b"{\"type\":\"ping\"}"), 1003),
        (frame(BINARY, b""), 1003),
        (frame(TEXT, b"{\"type\":\"\xff\"}"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),
        ([frame(START, b"\xf0\x9f"), frame(END, b"\xf0\x9f")].concat(), 1007),
        (frame(TEXT, &large), 1009),
        (declared, 1009),
        ([frame(START, half), frame(END, half)].concat(), 1009),
        ([frame(START, half), frame(MIDDLE, b""), frame(MIDDLE, half), frame(END, b"")].concat(), 1009),
        (unmasked, 1002),
        (frame(TEXT | 0x40, b"{}"), 1002),
        (frame(TEXT | 0x20, b"{}"), 1002),
        (frame(TEXT | 0x10, b"{}"), 1002),
        (frame(0x83, b""), 1002),
        (frame(0x8b, b""), 1002),
        (frame(PING & 0x7f, b""), 1002),
        (frame(PING, &[b'x'; 126]), 1002),
        (frame(END, b"{}"), 1002),
        ([frame(START, b"{"), frame(TEXT, b"}")].concat(), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xed"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ] {
        let mut raw = Raw::connect(server.addr, &ada.token).await;
        let message = json!({ "type": "message", "roomId": room, "content": "before", "ref": "1" });
        raw.send(&message).await;
        assert_eq!(raw.read().await.json()["type"], "ack");
        raw.write(&bytes).await;
        raw.closed(code).await;
    }
    assert!(other.drain().await.iter().all(|frame| frame["type"] == "new_message"));
}

async fn control_frames_are_answered(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    for payload in [&b""[..], b"are you there", &[0xff; 125]] {
        raw.write(&frame(PING, payload)).await;
        let pong = raw.read().await;
        assert_eq!((pong.first, &pong.payload[..]), (PONG, payload));
    }
    // Control frames may be between the fragments of a message, and an unsolicited pong is ignored.
    let pieces = [frame(START, br#"{"type":"#), frame(PING, b"1"), frame(PONG, b"2"), frame(END, br#""ping"}"#)].concat();
    raw.write(&pieces).await;
    assert_eq!(raw.read().await.payload, b"1");
    assert_eq!(raw.read().await.json(), json!({ "type": "pong" }));
}

async fn a_close_is_echoed_and_ends_at_once(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    for (sent, echoed) in [(&b"\x03\xe8bye"[..], 1000), (b"\x03\xe9", 1001), (b"\x0f\xa0", 4000), (b"", 1000)] {
        let mut raw = Raw::connect(server.addr, &ada.token).await;
        let begun = std::time::Instant::now();
        raw.write(&[frame(CLOSE, sent), frame(TEXT, br#"{"type":"ping"}"#)].concat()).await;
        // The server closes first (RFC 6455, section 7.1.1): a client that waits for it must not wait long.
        raw.closed(echoed).await;
        assert!(begun.elapsed() < std::time::Duration::from_millis(1_500), "{:?}", begun.elapsed());
    }
}

async fn a_message_may_come_in_any_pieces(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    let text = json!({ "type": "message", "roomId": room, "content": "né語🦀", "ref": "1" }).to_string();
    let whole = frame(TEXT, text.as_bytes());
    for byte in &whole {
        raw.write(std::slice::from_ref(byte)).await;
        raw.tcp.flush().await.unwrap();
    }
    assert_eq!(raw.read().await.json()["type"], "ack");
    let mut pieces: Vec<u8> = text.bytes().flat_map(|byte| frame(MIDDLE, &[byte])).collect();
    pieces[0] = START;
    pieces.extend(frame(END, b""));
    raw.write(&pieces).await;
    assert_eq!(raw.read().await.json()["type"], "ack");
    let events = server.events(room).await;
    for event in &events[2..] {
        assert_eq!(event["message"]["content"], "né語🦀");
    }
    assert_eq!(events.len(), 4);
}

async fn many_frames_may_come_in_one_piece(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    let pings: Vec<u8> =
        (0..500).flat_map(|n| frame(TEXT, json!({ "type": "ping", "ref": n.to_string() }).to_string().as_bytes())).collect();
    raw.write(&pings).await;
    for n in 0..500 {
        assert_eq!(raw.read().await.json()["ref"], n.to_string());
    }
    // The client closes TCP without a close frame, which the server must notice.
    raw.tcp.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(AMPLE, raw.tcp.read_to_end(&mut rest)).await.expect("the connection stays open").unwrap();
    assert_eq!(rest, b"");
}
