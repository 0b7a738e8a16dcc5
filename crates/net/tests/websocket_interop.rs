//! The codec against two other libraries: their clients connect to it, and one of them checks the same bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::io::{self, Cursor, Read, Write};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chatsphere_net::websocket::handshake::{Subprotocols, UpgradeRequest};
use chatsphere_net::websocket::{self, Decoder, Incoming, ProtocolError, is_close_code};
use futures_util::{SinkExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{client_frame, decode_in_chunks};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite;
use tokio_websockets::ClientBuilder;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

/// Lengths around every boundary of the header format.
const LENGTHS: [usize; 10] = [0, 1, 124, 125, 126, 127, 4096, 65534, 65535, 65536];

/// A minimal echo server on the codec.
async fn echo(mut stream: DuplexStream) -> Result<(), ProtocolError> {
    let mut decoder = Decoder::default();
    let mut buf = BytesMut::new();
    let mut closing = false;
    loop {
        while let Some(incoming) = decoder.decode(&mut buf)? {
            let answer = match incoming {
                Incoming::Text(text) => websocket::text_frame(std::str::from_utf8(&text).unwrap()),
                Incoming::Binary(_) => {
                    closing = true;
                    websocket::close(1003, "text only, please")
                }
                Incoming::Ping(payload) => websocket::pong(&payload),
                Incoming::Pong(_) => continue,
                Incoming::Close { .. } if closing => break,
                Incoming::Close { code, .. } => websocket::close_echo(code),
            };
            stream.write_all(&answer).await.unwrap();
        }
        if decoder.is_finished() {
            break;
        }
        // Small, so that frames arrive in pieces.
        let mut chunk = [0; 1000];
        match stream.read(&mut chunk).await.unwrap() {
            0 => break,
            size => buf.extend_from_slice(&chunk[..size]),
        }
    }
    Ok(())
}

/// Fails the test after a minute instead of blocking forever.
async fn soon(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), test).await.unwrap();
}

fn text_of(length: usize) -> String {
    "né語🦀"
        .chars()
        .cycle()
        .scan(0, |size, next| {
            *size += next.len_utf8();
            (*size <= length).then_some(next)
        })
        .collect::<String>()
        + &"x".repeat(length % 3)
}

#[tokio::test]
async fn a_tokio_websockets_client_talks_with_us() {
    soon(async {
        let (ours, theirs) = duplex(4096);
        let server = tokio::spawn(echo(ours));
        let mut client = ClientBuilder::new().take_over(theirs);
        for length in LENGTHS {
            let text = "x".repeat(length);
            client.send(tokio_websockets::Message::text(text.clone())).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some(&text[..]));
        }
        let text = text_of(30_000);
        client.send(tokio_websockets::Message::text(text.clone())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some(&text[..]));
        client.send(tokio_websockets::Message::ping("are you there")).await.unwrap();
        let pong = client.next().await.unwrap().unwrap();
        assert!(pong.is_pong() && pong.as_payload().as_ref() == b"are you there");
        let code = tokio_websockets::CloseCode::GOING_AWAY;
        client.send(tokio_websockets::Message::close(Some(code), "done")).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().as_close(), Some((code, "")));
        assert_eq!(server.await.unwrap(), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_tokio_websockets_client_may_fragment() {
    soon(async {
        let (ours, theirs) = duplex(4096);
        tokio::spawn(echo(ours));
        let config = tokio_websockets::Config::default().frame_size(17);
        let mut client = ClientBuilder::new().config(config).take_over(theirs);
        let text = text_of(5000);
        client.send(tokio_websockets::Message::text(text.clone())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some(&text[..]));
    })
    .await;
}

#[tokio::test]
async fn a_tungstenite_client_talks_with_us() {
    soon(async {
        use tungstenite::Message;
        use tungstenite::protocol::CloseFrame;

        let (ours, theirs) = duplex(4096);
        let server = tokio::spawn(echo(ours));
        let mut client = tokio_tungstenite::WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        for length in LENGTHS {
            let text = Message::text("x".repeat(length));
            client.send(text.clone()).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), text);
        }
        let text = Message::text(text_of(30_000));
        client.send(text.clone()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), text);
        client.send(Message::Ping(Bytes::from_static(b"are you there"))).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"are you there")));
        client.send(Message::binary(&b"\xff"[..])).await.unwrap();
        let close = CloseFrame { code: 1003.into(), reason: "text only, please".into() };
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(Some(close)));
        assert!(client.next().await.is_none());
        assert_eq!(server.await.unwrap(), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_client_accepts_our_answer_to_its_handshake() {
    soon(async {
        let (mut ours, theirs) = duplex(4096);
        let server = tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(ours.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let header = |name: &str| {
                head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|h| h.1)
            };
            let request = UpgradeRequest {
                http_1_0: false,
                method: head.split(' ').next().unwrap(),
                connection: header("connection"),
                upgrade: header("upgrade"),
                version: header("sec-websocket-version"),
                key: header("sec-websocket-key"),
            };
            let accept = request.accept().unwrap();
            let offered = Subprotocols::parse(header("sec-websocket-protocol"));
            assert_eq!(offered.bearer, Some("abc.def"));
            let subprotocol = offered.selected().unwrap();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
            );
            ours.write_all(answer.as_bytes()).await.unwrap();
            echo(ours).await
        });
        let (mut client, answer) = ClientBuilder::new()
            .uri("ws://localhost/ws")
            .unwrap()
            .add_header("sec-websocket-protocol".parse().unwrap(), "chatsphere.v1, bearer.abc.def".parse().unwrap())
            .unwrap()
            .connect_on(theirs)
            .await
            .unwrap();
        assert_eq!(answer.status(), 101);
        client.send(tokio_websockets::Message::text("Hello")).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some("Hello"));
        drop(client);
        assert_eq!(server.await.unwrap(), Ok(()));
    })
    .await;
}

/// A stream that can be read to its end and discards writes.
struct Recording(Cursor<Vec<u8>>);

impl Read for Recording {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, buf)
    }
}

impl Write for Recording {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    NotUtf8,
    Wrong,
}

/// tungstenite's result for a client's bytes.
fn judged_by_tungstenite(bytes: Vec<u8>, max: usize) -> (Vec<Incoming>, Verdict) {
    use tungstenite::error::ProtocolError as Theirs;
    use tungstenite::{Error, Message};

    let config = WebSocketConfig::default().max_frame_size(Some(max)).max_message_size(Some(max));
    let mut socket = WebSocket::from_raw_socket(Recording(Cursor::new(bytes)), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(Message::Text(text)) => Incoming::Text(text.into()),
            Ok(Message::Binary(data)) => Incoming::Binary(data),
            Ok(Message::Ping(data)) => Incoming::Ping(data),
            Ok(Message::Pong(data)) => Incoming::Pong(data),
            Ok(Message::Close(frame)) => {
                let (code, reason) = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string())).unzip();
                // It closes with its own code instead of reporting a bad one.
                if reason.as_deref() == Some("Protocol violation") {
                    return (messages, Verdict::Wrong);
                }
                messages.push(Incoming::Close {
                    code: code.filter(|code| is_close_code(*code)),
                    reason: reason.unwrap_or_default(),
                });
                return (messages, Verdict::Fine);
            }
            Ok(Message::Frame(_)) => panic!("reading never answers a bare frame"),
            Err(Error::Protocol(Theirs::ResetWithoutClosingHandshake)) => return (messages, Verdict::Fine),
            Err(Error::Utf8(_)) => return (messages, Verdict::NotUtf8),
            Err(_) => return (messages, Verdict::Wrong),
        });
    }
}

fn client_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        12 => proptest::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x80, 0x80, 0x81, 0x82, 0x89, 0x8a]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "[a-zé語🦀]{0,12}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..20),
        1 => vec(b'a'..=b'z', 100..300),
    ];
    let code = prop_oneof![Just(1000_u16), Just(1005), Just(1011), 3000_u16..5000, any::<u16>()];
    (first, payload, code, any::<[u8; 4]>()).prop_map(|(first, mut payload, code, mask)| {
        // A random code would rarely be valid.
        if first == 0x88 && payload.len() > 1 {
            payload.splice(..0, code.to_be_bytes());
        }
        client_frame(first, &payload, mask)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn tungstenite_and_we_agree(frames in vec(client_frames(), 0..12), max in 150_usize..400) {
        // The last frame ends a message in progress: this decoder checks a text when it is complete, tungstenite checks each
        // fragment, and may stop earlier.
        let bytes = [frames.concat(), client_frame(0x80, b"", [0; 4])].concat();
        let (ours, error) = decode_in_chunks(&bytes, max, &[64]);
        let (theirs, verdict) = judged_by_tungstenite(bytes, max);
        if verdict == Verdict::NotUtf8 {
            prop_assert_eq!(ours.get(..theirs.len()), Some(&theirs[..]));
            let closed = matches!(ours.last(), Some(Incoming::Close { .. }));
            prop_assert!(error.is_some() || closed);
        } else {
            prop_assert_eq!(error.is_some(), verdict == Verdict::Wrong, "{:?}", error);
            prop_assert_eq!(ours, theirs);
        }
    }
}
