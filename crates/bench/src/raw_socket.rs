use std::io;

use bytes::{Buf, BytesMut};
use reqwest::Url;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::BenchError;

const READ: usize = 16 * 1024;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// A WebSocket that costs the generator as little as possible, so that the server is what is measured: frames are looked at
/// where they arrived, nothing is copied, checked or decoded.
#[derive(Debug)]
pub(crate) struct RawSocket {
    stream: TcpStream,
    buffer: BytesMut,
}

impl RawSocket {
    /// Connects to `/ws` below `url`, plain HTTP only.
    pub(crate) async fn open(url: &str, token: &str) -> Result<Self, BenchError> {
        let usage = || BenchError::Usage(format!("{url:?} must be an address such as http://127.0.0.1:3001, without TLS"));
        let address = Url::parse(url).map_err(|_| usage())?;
        let (host, port) = address.host_str().zip(address.port_or_known_default()).ok_or_else(usage)?;
        if address.scheme() != "http" {
            return Err(usage());
        }
        let opening = async {
            let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            stream.set_nodelay(true)?;
            // The key proves nothing to a generator, so that it may be the one of RFC 6455, section 1.3.
            let request = format!(
                "GET {}/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 Authorization: Bearer {token}\r\n\r\n",
                address.path().trim_end_matches('/')
            );
            stream.write_all(request.as_bytes()).await?;
            Ok(Self { stream, buffer: BytesMut::with_capacity(READ) })
        };
        let mut socket = opening.await.map_err(|source| BenchError::Io { what: "opening a socket", source })?;
        socket.await_switch().await?;
        Ok(socket)
    }

    async fn await_switch(&mut self) -> Result<(), BenchError> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                if head.starts_with(b"HTTP/1.1 101") {
                    return Ok(());
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                return Err(BenchError::Unexpected(format!("the server did not open a WebSocket: {line}")));
            }
            self.fill().await.map_err(|source| BenchError::Io { what: "opening a socket", source })?;
        }
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(TEXT, text.as_bytes()).await
    }

    /// Sends several texts in one write.
    pub(crate) async fn send_all(&mut self, texts: &[String]) -> io::Result<()> {
        let mut bytes = Vec::new();
        texts.iter().for_each(|text| frame(&mut bytes, TEXT, text.as_bytes()));
        self.stream.write_all(&bytes).await
    }

    async fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        frame(&mut bytes, opcode, payload);
        self.stream.write_all(&bytes).await
    }

    /// Waits for bytes and shows every whole text that has arrived; answers pings.
    ///
    /// # Errors
    /// When the socket ends; the reason of a close frame is told.
    pub(crate) async fn read(&mut self, mut on_text: impl FnMut(&[u8])) -> Result<(), BenchError> {
        let failed = |source| BenchError::Io { what: "reading from a socket", source };
        loop {
            let mut pings = Vec::new();
            let mut shown = false;
            while let Some((opcode, head, length)) = header(&self.buffer) {
                if self.buffer.len() < head + length {
                    break;
                }
                let payload = self.buffer.get(head..head + length).unwrap_or_default();
                match opcode {
                    TEXT => {
                        on_text(payload);
                        shown = true;
                    }
                    PING => pings.push(payload.to_vec()),
                    CLOSE => return Err(BenchError::Unexpected(closed(payload))),
                    _ => {}
                }
                self.buffer.advance(head + length);
            }
            for payload in pings {
                self.send_frame(PONG, &payload).await.map_err(failed)?;
            }
            if shown {
                return Ok(());
            }
            self.fill().await.map_err(failed)?;
        }
    }

    /// Joins a room and waits until all that was before has arrived; the room's newest number then.
    pub(crate) async fn join(&mut self, room: &str) -> Result<u64, BenchError> {
        let join = format!(r#"{{"type":"join","roomId":"{room}"}}"#);
        self.send(&join).await.map_err(|source| BenchError::Io { what: "joining", source })?;
        let (mut seq, mut refused, mut joined) = (0, None, false);
        while !joined {
            self.read(|text| match serde_json::from_slice::<Value>(text) {
                Ok(frame) if frame["type"] == "join_confirmation" => seq = frame["seq"].as_u64().unwrap_or(0),
                Ok(frame) if frame["type"] == "previous_messages" => joined = frame["more"] == false,
                Ok(frame) if frame["type"] == "error" => refused = Some(frame.to_string()),
                _ => {}
            })
            .await?;
            if let Some(refused) = refused {
                return Err(BenchError::Unexpected(format!("a join was refused: {refused}")));
            }
        }
        Ok(seq)
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Writes a masked frame (RFC 6455, section 5.2). The mask guards proxies against pages; a mask of zeros spares the work.
pub(crate) fn frame(bytes: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    bytes.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
}

/// The opcode, the header's length and the payload's, once the header is there.
pub(crate) fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let opcode = first & 0x0F;
    Some(match second & 0x7F {
        126 => (opcode, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (opcode, 10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (opcode, 2, usize::from(length)),
    })
}

fn closed(payload: &[u8]) -> String {
    let code = payload.get(..2).and_then(|code| Some(u16::from_be_bytes(code.try_into().ok()?))).unwrap_or(1005);
    format!("the server closed a socket with {code}: {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_as_they_were_written() {
        for (length, head) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut bytes = Vec::new();
            frame(&mut bytes, TEXT, &vec![b'x'; length]);
            assert_eq!(bytes.len(), head + length);
            // The server's frames bear no mask.
            assert_eq!(header(&bytes), Some((TEXT, head - 4, length)));
            assert_eq!(header(&bytes[..1]), None);
        }
    }
}
