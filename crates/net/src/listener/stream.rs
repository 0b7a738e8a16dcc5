//! The socket as hyper sees it, and the way to get it back at an upgrade.

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
pub struct Upgraded {
    /// The socket, read no further than the request's head and `read_ahead`.
    pub stream: UpgradedStream,
    /// What the client sent right behind its request: the beginning of what it says in the new protocol.
    pub read_ahead: Bytes,
    /// The connection's place among those that the listener allows; none if it isn't one of them.
    pub slot: Option<Arc<Slot>>,
}

/// Bytes both ways. For everything that does so.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A socket without HTTP.
pub enum UpgradedStream {
    /// The TCP connection itself, with `TCP_NODELAY` set and no time-out left upon it.
    Plain(TcpStream),
    /// TLS over it, or what else HTTP was spoken over.
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

/// Takes the socket out of an upgraded connection.
///
/// One that another server accepted is of use all the same, as [`UpgradedStream::Other`].
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
            // Only this function takes it, and no stream comes here twice.
            None => UpgradedStream::Other(Box::new(tokio::io::empty())),
        },
        Io::Tls(tls) => UpgradedStream::Other(tls),
    };
    Upgraded { stream, read_ahead: parts.read_buf, slot: Some(slot) }
}

/// A connection of this listener, plain or over TLS, as hyper holds it: `TokioIo<PeerStream>`.
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

    /// What hyper wanted to answer by itself. From now on the stream writes again, the answer to that.
    pub(super) fn withheld(&mut self) -> Option<EarlyError> {
        let error = self.withheld.take()?;
        self.timer().answering();
        Some(error)
    }

    /// Whether these bytes, the next that hyper writes, go no further. To a head that it can't read hyper answers a bare
    /// status, and it can't be told not to.
    fn withholds(&mut self, bytes: &[u8]) -> bool {
        if self.withheld.is_none() {
            self.withheld = bare_error(bytes).filter(|_| !self.timer().is_answering());
        }
        self.withheld.is_some()
    }
}

/// The error that an answer's status line means, if hyper may have written it by itself.
fn bare_error(answer: &[u8]) -> Option<EarlyError> {
    let status = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    EarlyError::of_hyper(std::str::from_utf8(status).ok()?.parse().ok()?)
}

/// A TCP connection that reports its progress. Beneath TLS, since what TLS buffers isn't progress.
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
