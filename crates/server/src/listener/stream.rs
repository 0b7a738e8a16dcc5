//! The socket as hyper sees it, and the way to get it back at an upgrade.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::own_answer::{Replacement, recognise};
use super::watch::Watch;

/// One of the listener's connections, for as long as it is held: keep it beside the socket and drop it with it, so
/// that upgraded connections count too.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Slot {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(permit)
    }
}

/// What an upgraded connection was made of.
#[derive(Debug)]
pub struct Taken {
    /// The socket, read no further than the request's head and `read_ahead`.
    pub stream: TakenStream,
    /// What the client sent right behind its request: the beginning of what it says in the new protocol.
    pub read_ahead: Bytes,
    /// The connection's place among those that the listener allows; none if it isn't one of them.
    pub slot: Option<Arc<Slot>>,
}

/// Bytes both ways. For everything that does so.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A socket without HTTP.
pub enum TakenStream {
    /// The TCP connection itself, with `TCP_NODELAY` set and no time-out left upon it.
    Plain(TcpStream),
    /// TLS over it, or what else HTTP was spoken over.
    Other(Box<dyn Duplex>),
}

impl fmt::Debug for TakenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(tcp) => f.debug_tuple("Plain").field(tcp).finish(),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// Takes the socket out of an upgraded connection.
///
/// One that another server accepted is of use all the same, as [`TakenStream::Other`].
#[must_use]
pub fn take_stream(upgraded: Upgraded) -> Taken {
    let parts = match upgraded.downcast::<TokioIo<PeerStream>>() {
        Ok(parts) => parts,
        Err(upgraded) => {
            let stream = TakenStream::Other(Box::new(TokioIo::new(upgraded)));
            return Taken { stream, read_ahead: Bytes::new(), slot: None };
        }
    };
    let PeerStream { io, slot, .. } = parts.io.into_inner();
    let stream = match io {
        Io::Plain(mut watched) => match watched.tcp.take() {
            Some(tcp) => TakenStream::Plain(tcp),
            // Only this function takes it, and no stream comes here twice.
            None => TakenStream::Other(Box::new(tokio::io::empty())),
        },
        Io::Tls(tls) => TakenStream::Other(tls),
    };
    Taken { stream, read_ahead: parts.read_buf, slot: Some(slot) }
}

/// A connection of this listener, plain or over TLS, as hyper holds it: `TokioIo<PeerStream>`.
#[derive(Debug)]
pub struct PeerStream {
    io: Io,
    slot: Arc<Slot>,
    /// Goes out in place of what hyper answers by itself; the last thing that does.
    replacement: Option<Box<Replacement>>,
}

#[derive(Debug)]
enum Io {
    Plain(Watched),
    Tls(Box<TlsStream<Watched>>),
}

impl PeerStream {
    pub(super) fn plain(tcp: Watched, slot: Arc<Slot>) -> Self {
        Self { io: Io::Plain(tcp), slot, replacement: None }
    }

    pub(super) fn tls(tls: TlsStream<Watched>, slot: Arc<Slot>) -> Self {
        Self { io: Io::Tls(Box::new(tls)), slot, replacement: None }
    }

    fn watch(&self) -> &Watch {
        match &self.io {
            Io::Plain(watched) => &watched.watch,
            Io::Tls(tls) => &tls.get_ref().0.watch,
        }
    }

    /// Writes the replacement of an answer that hyper made by itself, if this is one.
    fn poll_replace(&mut self, cx: &mut Context<'_>, written: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.replacement.is_none() {
            let refusal = recognise(written).filter(|_| !self.watch().is_answering())?;
            let watch = self.watch();
            let replacement = Replacement::new(watch.refusal(refusal), &watch.cross_origin());
            self.replacement = Some(Box::new(replacement));
        }
        let replacement = self.replacement.as_mut()?;
        let outcome = match &mut self.io {
            Io::Plain(io) => replacement.poll_write(io, cx),
            Io::Tls(io) => replacement.poll_write(io.as_mut(), cx),
        };
        // What hyper wanted to write is as good as written.
        Some(outcome.map_ok(|()| written.len()))
    }
}

/// A TCP connection that reports its progress. Beneath TLS, since what TLS buffers isn't progress.
#[derive(Debug)]
pub(super) struct Watched {
    tcp: Option<TcpStream>,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(tcp: TcpStream, watch: Arc<Watch>) -> Self {
        Self { tcp: Some(tcp), watch }
    }

    fn parts(&mut self) -> io::Result<(Pin<&mut TcpStream>, &Watch)> {
        let tcp = self.tcp.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok((Pin::new(tcp), &self.watch))
    }

    fn note(watch: &Watch, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => watch.write_blocked(),
            Poll::Ready(_) => watch.wrote(),
        }
        result
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(tcp) = self.tcp.take() {
            self.watch.leave(tcp);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (tcp, watch) = self.get_mut().parts()?;
        let before = buf.filled().len();
        let result = tcp.poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = result {
            watch.read(buf.filled().len() - before);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (tcp, watch) = self.get_mut().parts()?;
        Self::note(watch, tcp.poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (tcp, watch) = self.get_mut().parts()?;
        Self::note(watch, tcp.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    // Neither waits on a TCP socket.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().parts()?.0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().parts()?.0.poll_shutdown(cx)
    }
}

/// Calls the same method of whichever stream is inside.
macro_rules! forward {
    ($self:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $self.as_mut().get_mut().io {
            Io::Plain(io) => Pin::new(io).$method($($argument),*),
            Io::Tls(io) => Pin::new(io.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = forward!(self, poll_read, cx, buf);
        if let (Poll::Ready(Ok(())), Some(read)) = (&outcome, buf.filled().get(before..)) {
            self.watch().seen(read);
        }
        outcome
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(outcome) = self.poll_replace(cx, buf) {
            return outcome;
        }
        forward!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // A head without a body is one piece.
        if let [only] = bufs
            && let Some(outcome) = self.poll_replace(cx, only)
        {
            return outcome;
        }
        forward!(self, poll_write_vectored, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown, cx)
    }
}
