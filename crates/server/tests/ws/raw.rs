//! A raw connection, for input that a library would not send and for clients that do not read.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::client::AMPLE;
use crate::support::{hold_client_frame, hold_server_frame};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// Close codes after which a client should wait: a `closing` frame comes before.
pub(crate) const WAITS: [u16; 4] = [1001, 1013, 4008, 4029];

pub(crate) struct Raw<S = TcpStream> {
    pub(crate) tcp: S,
    /// The head of the server's answer.
    pub(crate) head: String,
}

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl RawFrame {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.first, TEXT);
        let frame = serde_json::from_slice(&self.payload).unwrap();
        hold_server_frame(&frame);
        frame
    }

    /// Returns the code of a close frame.
    pub(crate) fn code(&self) -> u16 {
        assert_eq!(self.first, CLOSE, "{}", String::from_utf8_lossy(&self.payload));
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

/// Makes a client's frame: masked, with the shortest length.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(place, byte)| byte ^ mask[place % 4]));
    bytes
}

pub(crate) fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

impl Raw {
    /// Sends a request and these bytes after it, and reads the head of the answer.
    pub(crate) async fn request(addr: SocketAddr, request: &str, behind: &[u8]) -> Self {
        Self::request_on(TcpStream::connect(addr).await.unwrap(), request, behind).await
    }

    /// Connects with this token, and reads `hello`.
    pub(crate) async fn connect(addr: SocketAddr, token: &str) -> Self {
        Self::connect_on(TcpStream::connect(addr).await.unwrap(), token).await
    }

    /// The same with a small receive buffer.
    pub(crate) async fn connect_narrow(addr: SocketAddr, token: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        Self::connect_on(socket.connect(addr).await.unwrap(), token).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    async fn request_on(mut tcp: S, request: &str, behind: &[u8]) -> Self {
        tcp.write_all(&[request.as_bytes(), behind].concat()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(AMPLE, tcp.read_u8()).await.expect("no answer").unwrap());
        }
        Self { tcp, head: String::from_utf8(head).unwrap() }
    }

    /// The same on an open connection.
    pub(crate) async fn connect_on(tcp: S, token: &str) -> Self {
        let request = upgrade("/ws", &format!("authorization: Bearer {token}\r\n"));
        let mut raw = Self::request_on(tcp, &request, b"").await;
        assert!(raw.head.starts_with("HTTP/1.1 101"), "{}", raw.head);
        assert_eq!(raw.read().await.json()["type"], "hello");
        raw
    }

    /// Returns the body of an answer that opened no WebSocket.
    pub(crate) async fn body(&mut self) -> Value {
        let head = self.head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().unwrap()];
        timeout(AMPLE, self.tcp.read_exact(&mut body)).await.expect("no body").unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, value: &Value) {
        hold_client_frame(value);
        self.write(&frame(TEXT, value.to_string().as_bytes())).await;
    }

    /// Returns the next frame, of any kind.
    pub(crate) async fn read(&mut self) -> RawFrame {
        self.try_read().await.expect("the connection ended")
    }

    /// Returns the next frame; `None` at the connection's end.
    pub(crate) async fn try_read(&mut self) -> Option<RawFrame> {
        timeout(AMPLE, async {
            let first = self.tcp.read_u8().await.ok()?;
            let length = match self.tcp.read_u8().await.ok()? {
                126 => u64::from(self.tcp.read_u16().await.ok()?),
                127 => self.tcp.read_u64().await.ok()?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.tcp.read_exact(&mut payload).await.ok()?;
            Some(RawFrame { first, payload })
        })
        .await
        .expect("nothing came")
    }

    /// Asserts that the next frame closes the connection with this code, and that the connection then ends.
    pub(crate) async fn closed(&mut self, code: u16) {
        if WAITS.contains(&code) {
            let closing = self.read().await.json();
            assert_eq!((&closing["type"], &closing["code"]), (&Value::from("closing"), &Value::from(code)));
            assert!(closing["retryAfterMs"].as_u64() > Some(0), "{closing}");
        }
        assert_eq!(self.read().await.code(), code);
        assert_eq!(self.try_read().await, None);
    }
}
