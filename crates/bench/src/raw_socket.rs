use std::io::{self, Write};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::address::Address;
use crate::error::RunError;
use crate::wire::{self, CLOSE, JoinAnswer, PING, PONG, TEXT};

const READ: usize = 16 * 1024;
/// Delay before retrying a full socket.
const FULL: Duration = Duration::from_micros(200);
/// A close frame with code 1000, masked with zeros.
const GOODBYE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

/// A WebSocket with minimal cost for the generator, so that the server is measured: frames are examined in the receive buffer
/// and not copied, validated or decoded.
#[derive(Debug)]
pub(crate) struct RawSocket {
    stream: TcpStream,
    buffer: BytesMut,
}

impl RawSocket {
    /// Connects to `/ws` at the address.
    pub(crate) async fn open(address: &Address, token: &str) -> Result<Self, RunError> {
        let opening = async {
            let mut stream = address.connect().await?;
            // The key need not be random here; this is the one of RFC 6455, section 1.3.
            let request = format!(
                "GET {}/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 Authorization: Bearer {token}\r\n\r\n",
                address.path,
                address.authority()
            );
            stream.write_all(request.as_bytes()).await?;
            Ok(Self::on(stream))
        };
        let mut socket = opening.await.map_err(|source| RunError::Io { what: "opening a socket", source })?;
        socket.await_switch().await?;
        Ok(socket)
    }

    /// A stream that carries frames without a handshake.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    async fn await_switch(&mut self) -> Result<(), RunError> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                if head.starts_with(b"HTTP/1.1 101") {
                    return Ok(());
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                return Err(RunError::Unexpected(format!("the server did not open a WebSocket: {line}")));
            }
            self.fill().await.map_err(|source| RunError::Io { what: "opening a socket", source })?;
        }
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(TEXT, text.as_bytes()).await
    }

    /// Sends several texts in one write.
    pub(crate) async fn send_all(&mut self, texts: &[String]) -> io::Result<()> {
        let mut bytes = Vec::new();
        texts.iter().for_each(|text| wire::frame(&mut bytes, TEXT, text.as_bytes()));
        self.stream.write_all(&bytes).await
    }

    /// Sends raw bytes.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    async fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        wire::frame(&mut bytes, opcode, payload);
        self.stream.write_all(&bytes).await
    }

    /// Waits for data and passes on every complete text; answers pings.
    ///
    /// # Errors
    /// When the socket ends; the error contains the reason of a close frame.
    pub(crate) async fn read(&mut self, mut on_text: impl FnMut(&[u8])) -> Result<(), RunError> {
        loop {
            let seen = self.take_frames(&mut on_text)?;
            if !seen.pongs.is_empty() {
                self.stream.write_all(&seen.pongs).await.map_err(reading)?;
            }
            if seen.texts {
                return Ok(());
            }
            self.fill().await.map_err(reading)?;
        }
    }

    /// Passes on texts that have arrived, without waiting.
    pub(crate) fn drain(&mut self, mut on_text: impl FnMut(&[u8])) -> Result<(), RunError> {
        loop {
            self.buffer.reserve(READ);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(reading(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(reading(error)),
            }
            let seen = self.take_frames(&mut on_text)?;
            if !seen.pongs.is_empty() {
                // So few bytes fit unless the server has stopped reading, and then it does not miss them.
                let _ = self.stream.try_write(&seen.pongs);
            }
        }
    }

    /// Answers pings until the socket ends, without a buffer while nothing arrives. Calls `on_ping` for each.
    pub(crate) async fn hold(mut self, mut on_ping: impl FnMut()) -> RunError {
        loop {
            if let Err(error) = self.stream.readable().await {
                return reading(error);
            }
            let mut bytes = [0; 2048];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return reading(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.buffer.extend_from_slice(bytes.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return reading(error),
            }
            match self.take_frames(&mut |_| {}) {
                Ok(seen) if !seen.pongs.is_empty() => {
                    on_ping();
                    if let Err(error) = self.stream.write_all(&seen.pongs).await {
                        return reading(error);
                    }
                }
                Ok(_) => {}
                Err(error) => return error,
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
        }
    }

    fn take_frames(&mut self, on_text: &mut impl FnMut(&[u8])) -> Result<Seen, RunError> {
        let mut seen = Seen { texts: false, pongs: Vec::new() };
        while let Some((opcode, head, length)) = wire::header(&self.buffer) {
            let Some(payload) = self.buffer.get(head..head + length) else { break };
            match opcode {
                TEXT => {
                    on_text(payload);
                    seen.texts = true;
                }
                PING => wire::frame(&mut seen.pongs, PONG, payload),
                CLOSE => return Err(RunError::Unexpected(wire::closed(payload))),
                _ => {}
            }
            self.buffer.advance(head + length);
        }
        Ok(seen)
    }

    /// Joins a room and waits for all earlier events; returns the room's newest `seq`.
    pub(crate) async fn join(&mut self, room: &str) -> Result<u64, RunError> {
        self.join_with(&format!(r#"{{"type":"join","roomId":"{room}"}}"#), |_| {}).await
    }

    /// Sends this `join`, and passes on every text until all earlier events have arrived.
    pub(crate) async fn join_with(&mut self, join: &str, mut on_text: impl FnMut(&[u8])) -> Result<u64, RunError> {
        self.send(join).await.map_err(|source| RunError::Io { what: "joining", source })?;
        let (mut seq, mut refused, mut joined) = (0, None, false);
        while !joined {
            self.read(|text| {
                on_text(text);
                match wire::join_answer(text) {
                    Some(JoinAnswer::Confirmed(number)) => seq = number,
                    Some(JoinAnswer::Page { more }) => joined = !more,
                    Some(JoinAnswer::Refused(why)) => refused = Some(why),
                    None => {}
                }
            })
            .await?;
            if let Some(refused) = refused {
                return Err(RunError::Unexpected(format!("a join was refused: {refused}")));
            }
        }
        Ok(seq)
    }

    /// Sends a close frame; the connection ends when this is dropped.
    pub(crate) fn close(self) {
        let _ = self.stream.try_write(&GOODBYE);
    }

    /// Splits off a writer for another thread; this half continues reading.
    pub(crate) fn writer(self) -> Result<(Self, SocketWriter), RunError> {
        let stream = self.stream.into_std().map_err(reading)?;
        let writer = SocketWriter(stream.try_clone().map_err(reading)?);
        let stream = TcpStream::from_std(stream).map_err(reading)?;
        Ok((Self { stream, buffer: self.buffer }, writer))
    }

    /// The stream in blocking mode, and the bytes already read.
    pub(crate) fn into_blocking(self) -> Result<(std::net::TcpStream, BytesMut), RunError> {
        let stream = self.stream.into_std().map_err(reading)?;
        stream.set_nonblocking(false).map_err(reading)?;
        Ok((stream, self.buffer))
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Writes to a socket from another thread.
#[derive(Debug)]
pub(crate) struct SocketWriter(std::net::TcpStream);

impl SocketWriter {
    /// Writes complete frames, waiting as long as necessary; false if `give_up` returned true.
    pub(crate) fn write(&mut self, mut bytes: &[u8], give_up: impl Fn() -> bool) -> io::Result<bool> {
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && give_up() => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(FULL),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The content of complete frames.
struct Seen {
    texts: bool,
    /// Encoded pongs.
    pongs: Vec<u8>,
}

fn reading(source: io::Error) -> RunError {
    RunError::Io { what: "reading from a socket", source }
}
