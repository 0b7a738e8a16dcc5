use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use chatsphere_net::LATE;
use chatsphere_net::websocket::CloseCode;
use chatsphere_realtime::{Flushed, WriteQueue};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// The write side of a connection: writes what [`WriteQueue`] leaves to the connection's task.
pub(super) enum Writer {
    /// A plain TCP socket. Senders write to it directly while it does not block.
    Direct(Arc<TcpStream>),
    /// Any other stream, such as TLS.
    Stream(Box<StreamWriter>),
}

/// Boxed, so that an idle plain connection has no room for it.
pub(super) struct StreamWriter {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    /// Taken from the [`WriteQueue`] and not written yet; the first may be begun.
    taken: VecDeque<Bytes>,
}

impl Writer {
    /// The writer of a stream that is no plain TCP socket.
    pub(super) fn of_stream(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::Stream(Box::new(StreamWriter { stream: Box::new(stream), taken: VecDeque::new() }))
    }

    /// Shuts the write side down, which the peer learns at once.
    pub(super) async fn shutdown(&mut self) {
        let ended = match self {
            // Senders hold the socket too, so it is shut down through a descriptor of its own.
            Self::Direct(socket) => socket
                .as_fd()
                .try_clone_to_owned()
                .and_then(|descriptor| std::net::TcpStream::from(descriptor).shutdown(Shutdown::Write)),
            Self::Stream(writer) => writer.stream.shutdown().await,
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "the other side was gone already");
        }
    }

    /// Writes queued frames until the close frame has gone out or the socket broke. May be dropped and called again. A client
    /// that reads nothing for `patience` does not get the close frame.
    pub(super) async fn run(&mut self, write_queue: &WriteQueue, patience: Duration) {
        loop {
            // Written before the wait too: nobody else writes what was left when this was dropped.
            let ended = match self {
                Self::Direct(socket) => match write_queue.flush() {
                    Flushed::All => false,
                    Flushed::End => true,
                    // Boxed, since it is rare: an idle connection's future has no room for it.
                    Flushed::Blocked => Box::pin(flush(write_queue, socket, patience)).await,
                },
                Self::Stream(writer) => {
                    let StreamWriter { stream, taken } = &mut **writer;
                    Box::pin(write_taken(write_queue, &mut **stream, taken, patience)).await
                }
            };
            if ended {
                return;
            }
            write_queue.work().await;
        }
    }
}

/// How long a client may read nothing of its queue before it is closed with 4008. The queue takes memory, and a client that
/// reads nothing may still answer pings.
const UNREAD: Duration = Duration::from_secs(30);

/// Since when a client has read nothing of its queue.
struct Unread {
    progress: u64,
    since: Instant,
}

impl Unread {
    fn new(write_queue: &WriteQueue) -> Self {
        Self { progress: write_queue.progress(), since: Instant::now() }
    }

    /// Resolves when that has lasted too long.
    async fn too_long(&mut self, write_queue: &WriteQueue) {
        let progress = write_queue.progress();
        if progress != self.progress {
            *self = Self { progress, since: Instant::now() };
        }
        let deadline = self.since + UNREAD;
        sleep_until(deadline).await;
        if deadline.elapsed() >= LATE {
            // This process stood still, so the client was not offered anything meanwhile.
            self.since = Instant::now();
            return;
        }
        if write_queue.progress() == progress {
            write_queue.close(CloseCode::SLOW_CONSUMER, "nothing was read: connect again and join with since");
        }
    }
}

async fn flush(write_queue: &WriteQueue, socket: &TcpStream, patience: Duration) -> bool {
    let mut unread = Unread::new(write_queue);
    loop {
        match write_queue.flush() {
            Flushed::All => return false,
            Flushed::End => return true,
            Flushed::Blocked if write_queue.closing().is_some() => {
                // A client that reads no more does not read the close frame either.
                if timeout(patience, socket.writable()).await.is_err() {
                    return true;
                }
            }
            Flushed::Blocked => {
                tokio::select! {
                    biased;
                    _ = socket.writable() => {}
                    // The end may come while the socket is blocked.
                    () = write_queue.work() => {}
                    () = unread.too_long(write_queue) => {}
                }
            }
        }
    }
}

/// Writes the frames in `taken`, then those that are queued. May be dropped at any point: what is not written stays in `taken`,
/// and is written first by the next call.
async fn write_taken(
    write_queue: &WriteQueue,
    stream: &mut (dyn AsyncWrite + Send + Unpin),
    taken: &mut VecDeque<Bytes>,
    patience: Duration,
) -> bool {
    let mut unread = Unread::new(write_queue);
    loop {
        taken.extend(write_queue.take());
        let write = write_all(write_queue, stream, taken);
        tokio::pin!(write);
        let written = loop {
            if write_queue.is_broken() {
                // The connection was abandoned while the write was blocked: the peer may be dead, and TCP would wait long.
                break false;
            }
            if write_queue.closing().is_some() {
                break timeout(patience, &mut write).await.is_ok_and(|written| written.is_ok());
            }
            tokio::select! {
                biased;
                written = &mut write => break written.is_ok(),
                () = write_queue.work() => {}
                () = unread.too_long(write_queue) => {}
            }
        };
        if !written {
            write_queue.abandon();
            return true;
        }
        match write_queue.taken_written() {
            Flushed::All => return false,
            Flushed::End => return true,
            Flushed::Blocked => {}
        }
    }
}

async fn write_all(
    write_queue: &WriteQueue,
    stream: &mut (dyn AsyncWrite + Send + Unpin),
    taken: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while let Some(frame) = taken.front_mut() {
        if frame.is_empty() {
            taken.pop_front();
            continue;
        }
        let written = stream.write(frame).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        write_queue.wrote(written);
        frame.advance(written);
    }
    stream.flush().await
}

#[cfg(test)]
mod tests;
