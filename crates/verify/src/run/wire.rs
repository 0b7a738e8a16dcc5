use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::frames::{CLOSE, PING, PONG, TEXT, frame, header};
use chatsphere_bench::error::RunError;

const READ: usize = 16 * 1024;
const OPEN: Duration = Duration::from_secs(5);
/// The kernel's receive buffer. Small, so that a client that does not read causes backpressure soon.
const SMALL: u32 = 16 * 1024;

/// The server's address, plain HTTP only.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    host: String,
    port: u16,
    path: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, RunError> {
        let usage = || RunError::Usage(format!("{url:?} must be an address such as http://127.0.0.1:3001, without TLS"));
        let address = Url::parse(url).map_err(|_| usage())?;
        let (host, port) = address.host_str().zip(address.port_or_known_default()).ok_or_else(usage)?;
        if address.scheme() != "http" {
            return Err(usage());
        }
        let path = address.path().trim_end_matches('/').to_owned();
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, path })
    }
}

/// A WebSocket that can be ended abruptly.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    inbox: BytesMut,
    out: BytesMut,
}

/// An incoming frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(Bytes),
    Close(Option<u16>),
}

/// How a connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Like the end of a process.
    Finish,
    /// Like the loss of a machine.
    Reset,
}

impl Wire {
    /// Connects and performs the WebSocket handshake.
    pub(crate) async fn open(address: &Address, token: &str, reads_little: bool) -> io::Result<Self> {
        timeout(OPEN, Self::open_now(address, token, reads_little))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn open_now(address: &Address, token: &str, reads_little: bool) -> io::Result<Self> {
        let Address { host, port, path } = address;
        let target = lookup_host((host.as_str(), *port)).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if reads_little {
            socket.set_recv_buffer_size(SMALL)?;
        }
        let mut stream = socket.connect(target).await?;
        stream.set_nodelay(true)?;
        // The key need not be random here; this is the one of RFC 6455, section 1.3.
        let request = format!(
            "GET {path}/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut wire = Self { stream, inbox: BytesMut::with_capacity(READ), out: BytesMut::new() };
        loop {
            if let Some(end) = wire.inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = wire.inbox.split_to(end + 4);
                return if head.starts_with(b"HTTP/1.1 101") { Ok(wire) } else { Err(io::ErrorKind::ConnectionRefused.into()) };
            }
            wire.fill().await?;
        }
    }

    /// Queues a text frame.
    pub(crate) fn send(&mut self, text: &str) {
        self.queue(TEXT, text.as_bytes());
    }

    fn queue(&mut self, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        frame(&mut bytes, opcode, payload);
        self.out.extend_from_slice(&bytes);
    }

    /// Waits until data was read or written. Cancel-safe.
    pub(crate) async fn progress(&mut self, reads: bool) -> io::Result<()> {
        self.inbox.reserve(READ);
        let (mut reader, mut writer) = self.stream.split();
        tokio::select! {
            read = reader.read_buf(&mut self.inbox), if reads => match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
            written = writer.write(&self.out), if !self.out.is_empty() => {
                self.out.advance(written?);
                Ok(())
            }
            () = pending(), if !reads && self.out.is_empty() => Ok(()),
        }
    }

    /// The next complete frame that has arrived. Pings are answered.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let (opcode, head, length) = header(&self.inbox)?;
            if self.inbox.len() < head + length {
                return None;
            }
            self.inbox.advance(head);
            let payload = self.inbox.split_to(length).freeze();
            match opcode {
                TEXT => return Some(Frame::Text(payload)),
                CLOSE => {
                    let code = payload.get(..2).and_then(|code| Some(u16::from_be_bytes(code.try_into().ok()?)));
                    return Some(Frame::Close(code));
                }
                PING => self.queue(PONG, &payload),
                _ => {}
            }
        }
    }

    /// Ends the connection, optionally after a part of a frame.
    pub(crate) fn cut(self, how: Cut, half_frame: Option<(&str, usize)>) {
        if let Some((text, per_mille)) = half_frame {
            let mut bytes = self.out.to_vec();
            let whole = bytes.len();
            frame(&mut bytes, TEXT, text.as_bytes());
            // Never the whole frame.
            let part = ((bytes.len() - whole) * per_mille / 1_000).clamp(1, bytes.len() - whole - 1);
            let _ = self.stream.try_write(bytes.get(..whole + part).unwrap_or_default());
        }
        if how == Cut::Reset {
            let _ = self.stream.set_zero_linger();
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.inbox.reserve(READ);
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
