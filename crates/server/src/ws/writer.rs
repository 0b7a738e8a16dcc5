use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use chatsphere_net::LATE;
use chatsphere_protocol::close;
use chatsphere_realtime::{Flushed, WriteQueue};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// The write side of a connection: writes the frames that [`WriteQueue`] leaves to the connection's task.
pub(super) enum Writer {
    /// A plain TCP socket, to which senders write directly while it does not block.
    Direct(Arc<TcpStream>),
    /// Any other stream, such as TLS.
    Stream(Box<StreamWriter>),
}

/// Boxed, so that an idle plain connection does not include it.
pub(super) struct StreamWriter {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    /// Frames taken from the [`WriteQueue`]; the first may be written in part.
    taken: VecDeque<Bytes>,
}

impl Writer {
    /// A writer for a stream other than a plain TCP socket.
    pub(super) fn of_stream(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::Stream(Box::new(StreamWriter { stream: Box::new(stream), taken: VecDeque::new() }))
    }

    /// Shuts down the write side, which the peer notices at once.
    pub(super) async fn shutdown(&mut self) {
        let ended = match self {
            // Senders share the socket, so it is shut down through a duplicate descriptor.
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

    /// Writes queued frames until the close frame was sent or the socket broke. May be dropped and called again. A client that
    /// reads nothing for `patience` does not get the close frame.
    pub(super) async fn run(&mut self, write_queue: &WriteQueue, patience: Duration) {
        loop {
            // Written before waiting: frames left by a dropped call have no other writer.
            let ended = match self {
                Self::Direct(socket) => match write_queue.flush() {
                    Flushed::All => false,
                    Flushed::End => true,
                    // Boxed because it is rare, so that an idle connection's future does not include it.
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

/// How long a client may read nothing of its queue before it is closed with 4008. The queue takes memory, and such a client may
/// still answer pings.
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
            // The process was suspended, so the client could not read meanwhile.
            self.since = Instant::now();
            return;
        }
        if write_queue.progress() == progress {
            write_queue.close(close::SLOW_CONSUMER, "nothing was read: connect again and join with since");
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
                // A client that stopped reading does not read the close frame either.
                if timeout(patience, socket.writable()).await.is_err() {
                    return true;
                }
            }
            Flushed::Blocked => {
                tokio::select! {
                    biased;
                    _ = socket.writable() => {}
                    // The connection may end while the socket is blocked.
                    () = write_queue.work() => {}
                    () = unread.too_long(write_queue) => {}
                }
            }
        }
    }
}

/// Writes the frames in `taken`, then queued ones. May be dropped at any point: unwritten frames stay in `taken`, and the next
/// call writes them first.
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
                // The connection was abandoned while a write was blocked: the peer may be dead, and TCP would wait for long.
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
