//! The socket as hyper uses it, and its recovery after an upgrade.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::upgrade::Upgraded as HyperUpgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::early_error::EarlyError;
use super::timer::ConnectionTimer;

/// A place among the listener's connections. Keep it together with the socket, so that upgraded connections count against the
/// limit.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Slot {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(permit)
    }
}

/// The parts of an upgraded connection.
#[derive(Debug)]
pub struct Upgraded {
    /// The socket, read exactly to the end of the request's head and `read_ahead`.
    pub stream: UpgradedStream,
    /// Bytes that the client sent after its request, in the new protocol.
    pub read_ahead: Bytes,
    /// The connection's place in the listener's limit; `None` for another listener's connection.
    pub slot: Option<Arc<Slot>>,
}

/// A bidirectional byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The socket of an upgraded connection.
pub enum UpgradedStream {
    /// The TCP connection, with `TCP_NODELAY` set and without timeouts.
    Plain(TcpStream),
    /// TLS, or any other stream below HTTP.
    Other(Box<dyn Duplex>),
}

impl fmt::Debug for UpgradedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(tcp) => f.debug_tuple("Plain").field(tcp).finish(),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// Recovers the socket of an upgraded connection.
///
/// A connection of another server becomes [`UpgradedStream::Other`].
#[must_use]
pub fn take_stream(upgraded: HyperUpgraded) -> Upgraded {
    let parts = match upgraded.downcast::<TokioIo<PeerStream>>() {
        Ok(parts) => parts,
        Err(upgraded) => {
            let stream = UpgradedStream::Other(Box::new(TokioIo::new(upgraded)));
            return Upgraded { stream, read_ahead: Bytes::new(), slot: None };
        }
    };
    let PeerStream { io, slot, .. } = parts.io.into_inner();
    let stream = match io {
        Io::Plain(mut timed) => match timed.tcp.take() {
            Some(tcp) => UpgradedStream::Plain(tcp),
            // Unreachable: only this function takes the stream, once per connection.
            None => UpgradedStream::Other(Box::new(tokio::io::empty())),
        },
        Io::Tls(tls) => UpgradedStream::Other(tls),
    };
    Upgraded { stream, read_ahead: parts.read_buf, slot: Some(slot) }
}

/// A connection of this listener as hyper holds it (`TokioIo<PeerStream>`), plain or over TLS.
#[derive(Debug)]
pub struct PeerStream {
    io: Io,
    slot: Arc<Slot>,
    /// What hyper has answered by itself, which goes no further: neither that nor anything after it. The connection ends with
    /// it, and [`PeerStream::withheld`] tells what is to be answered instead.
    withheld: Option<EarlyError>,
}

#[derive(Debug)]
enum Io {
    Plain(TimedStream),
    Tls(Box<TlsStream<TimedStream>>),
}

impl PeerStream {
    pub(super) fn plain(tcp: TimedStream, slot: Arc<Slot>) -> Self {
        Self { io: Io::Plain(tcp), slot, withheld: None }
    }

    pub(super) fn tls(tls: TlsStream<TimedStream>, slot: Arc<Slot>) -> Self {
        Self { io: Io::Tls(Box::new(tls)), slot, withheld: None }
    }

    fn timer(&self) -> &ConnectionTimer {
        match &self.io {
            Io::Plain(timed) => &timed.timer,
            Io::Tls(tls) => &tls.get_ref().0.timer,
        }
    }

    /// Returns the error that hyper tried to answer itself, and lets the stream write again, for another answer to it.
    pub(super) fn withheld(&mut self) -> Option<EarlyError> {
        let error = self.withheld.take()?;
        self.timer().answering();
        Some(error)
    }

    /// Whether to withhold the next bytes from hyper. hyper answers an unreadable head with a bare status, which cannot be
    /// configured.
    fn withholds(&mut self, bytes: &[u8]) -> bool {
        if self.withheld.is_none() {
            self.withheld = bare_error(bytes).filter(|_| !self.timer().is_answering());
        }
        self.withheld.is_some()
    }
}

/// The error of an answer's status line, if hyper may have written it itself.
fn bare_error(answer: &[u8]) -> Option<EarlyError> {
    let status = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    EarlyError::of_hyper(std::str::from_utf8(status).ok()?.parse().ok()?)
}

/// A TCP connection that reports progress to the timer. It lies below TLS, because data in TLS buffers is not progress.
#[derive(Debug)]
pub(super) struct TimedStream {
    tcp: Option<TcpStream>,
    timer: Arc<ConnectionTimer>,
}

impl TimedStream {
    pub(super) fn new(tcp: TcpStream, timer: Arc<ConnectionTimer>) -> Self {
        Self { tcp: Some(tcp), timer }
    }

    fn parts(&mut self) -> io::Result<(Pin<&mut TcpStream>, &ConnectionTimer)> {
        let tcp = self.tcp.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok((Pin::new(tcp), &self.timer))
    }

    fn note(timer: &ConnectionTimer, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => timer.write_blocked(),
            Poll::Ready(_) => timer.wrote(),
        }
        result
    }
}

impl Drop for TimedStream {
    fn drop(&mut self) {
        if let Some(tcp) = self.tcp.take() {
            self.timer.leave(tcp);
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (tcp, timer) = self.get_mut().parts()?;
        let before = buf.filled().len();
        let result = tcp.poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = result {
            timer.read(buf.filled().len() - before);
        }
        result
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (tcp, timer) = self.get_mut().parts()?;
        Self::note(timer, tcp.poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (tcp, timer) = self.get_mut().parts()?;
        Self::note(timer, tcp.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    // Neither blocks on a TCP socket.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().parts()?.0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().parts()?.0.poll_shutdown(cx)
    }
}

/// Calls the same method of the inner stream.
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
            self.timer().seen(read);
        }
        outcome
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.withholds(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        forward!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if bufs.first().is_some_and(|first| self.withholds(first)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
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
        if self.withheld.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flushed = forward!(self, poll_flush, cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.timer().flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.withheld.is_some() {
            return Poll::Ready(Ok(()));
        }
        forward!(self, poll_shutdown, cx)
    }
}
