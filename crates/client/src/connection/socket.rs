use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use futures_util::{SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, CloseCode, Limits, Message, WebSocketStream};

use crate::client::{Client, Token};

/// A byte stream, plain or TLS.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Maximum number of queued frames; everything else waits where it can still be withdrawn.
const MAX_QUEUED: usize = 8;

/// One WebSocket. All its futures are cancel-safe.
pub(super) struct Socket {
    stream: WebSocketStream<Box<dyn Bytes>>,
    queued: VecDeque<String>,
    unflushed: bool,
}

/// The result of a turn.
#[derive(Debug)]
pub(super) enum Turn {
    Text(String),
    /// All queued frames were sent; there is space for more.
    Sent,
    /// Traffic without content, such as a pong.
    Alive,
    Ended(Ended),
}

/// How a socket ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server closed it.
    Closed { code: u16, reason: String },
    /// The server rejected the handshake.
    Refused(u16),
    /// It failed.
    Lost(String),
}

impl From<tokio_websockets::Error> for Ended {
    fn from(error: tokio_websockets::Error) -> Self {
        use tokio_websockets::upgrade::Error::DidNotSwitchProtocols;
        match error {
            tokio_websockets::Error::Upgrade(DidNotSwitchProtocols(status)) => Self::Refused(status),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl Socket {
    /// Connects and performs the WebSocket handshake.
    pub(super) async fn open(client: &Client, token: &Token, largest_frame: usize) -> Result<Self, Ended> {
        let lost = |what: &str| Ended::Lost(what.to_owned());
        let address = client.socket_address().map_err(|error| Ended::Lost(error.to_string()))?;
        let host = address.host_str().ok_or_else(|| lost("the address names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = address.port_or_known_default().ok_or_else(|| lost("the address names no port"))?;
        let tcp = TcpStream::connect((host, port)).await?;
        // Messages are small and must not be delayed.
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Bytes> = match client.tls() {
            None => Box::new(tcp),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| Ended::Lost(error.to_string()))?;
                Box::new(tls.connect(name, tcp).await?)
            }
        };
        let bearer = token.bearer().map_err(|error| Ended::Lost(error.to_string()))?;
        let builder = ClientBuilder::new()
            .uri(address.as_str())
            .map_err(|error| Ended::Lost(error.to_string()))?
            .limits(Limits::default().max_payload_len(Some(largest_frame)))
            .add_header(AUTHORIZATION, bearer)?;
        let (stream, _) = builder.connect_on(stream).await?;
        Ok(Self { stream, queued: VecDeque::new(), unflushed: false })
    }

    /// Whether another frame can be queued.
    pub(super) fn has_room(&self) -> bool {
        self.queued.len() < MAX_QUEUED
    }

    /// Queues a frame; [`Socket::turn`] sends it.
    pub(super) fn queue(&mut self, text: String) {
        self.queued.push_back(text);
    }

    /// Sends queued frames and, if `read`, waits for incoming ones.
    pub(super) async fn turn(&mut self, read: bool) -> Turn {
        poll_fn(|context| self.poll_turn(context, read)).await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, read: bool) -> Poll<Turn> {
        let was_full = !self.has_room();
        if let Err(error) = self.poll_write(context) {
            return Poll::Ready(Turn::Ended(error.into()));
        }
        if was_full && self.has_room() {
            return Poll::Ready(Turn::Sent);
        }
        if !read {
            return Poll::Pending;
        }
        match self.stream.poll_next_unpin(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(Turn::Ended(Ended::Lost("the connection ended without a reason".to_owned()))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Turn::Ended(error.into())),
            Poll::Ready(Some(Ok(message))) => {
                // The library may have queued a pong.
                self.unflushed = true;
                Poll::Ready(turn(&message))
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<(), tokio_websockets::Error> {
        while !self.queued.is_empty() {
            match self.stream.poll_ready_unpin(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            if let Some(text) = self.queued.pop_front() {
                self.stream.start_send_unpin(Message::text(text))?;
                self.unflushed = true;
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = self.stream.poll_flush_unpin(context)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Closes the connection cleanly.
    pub(super) async fn close(mut self) {
        let goodbye = Message::close(Some(CloseCode::NORMAL_CLOSURE), "");
        if self.stream.send(goodbye).await.is_ok() {
            let _ = self.stream.close().await;
        }
    }
}

fn turn(message: &Message) -> Turn {
    if let Some(text) = message.as_text() {
        return Turn::Text(text.to_owned());
    }
    match message.as_close() {
        Some((code, reason)) => Turn::Ended(Ended::Closed { code: code.into(), reason: reason.to_owned() }),
        None => Turn::Alive,
    }
}
