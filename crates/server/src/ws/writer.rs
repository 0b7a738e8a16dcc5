use std::sync::Arc;

use chatsphere_realtime::{Flushed, Outbound};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::CLOSE_TIMEOUT;

/// The write side of a connection: carries out what [`Outbound`] leaves to the connection's task.
pub(super) enum Writer {
    /// A plain TCP socket. Senders write to it themselves while it does not block.
    Direct(Arc<TcpStream>),
    /// Anything else, such as TLS.
    Stream(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Writer {
    /// Writes what waits until the connection's end: its close frame has gone out, or its socket broke.
    pub(super) async fn run(&mut self, outbound: &Outbound) {
        loop {
            outbound.work().await;
            let ended = match self {
                Self::Direct(socket) => flush(outbound, socket).await,
                Self::Stream(stream) => write_taken(outbound, stream).await,
            };
            if ended {
                return;
            }
        }
    }
}

async fn flush(outbound: &Outbound, socket: &TcpStream) -> bool {
    loop {
        match outbound.flush() {
            Flushed::All => return false,
            Flushed::End => return true,
            Flushed::Blocked if outbound.closing().is_some() => {
                // Whoever does not read any more does not read the close frame either.
                if timeout(CLOSE_TIMEOUT, socket.writable()).await.is_err() {
                    return true;
                }
            }
            Flushed::Blocked => {
                tokio::select! {
                    biased;
                    _ = socket.writable() => {}
                    // The end may come while the socket is blocked.
                    () = outbound.work() => {}
                }
            }
        }
    }
}

async fn write_taken(outbound: &Outbound, stream: &mut (dyn AsyncWrite + Send + Unpin)) -> bool {
    loop {
        let frames = outbound.take();
        let write = async {
            for frame in &frames {
                stream.write_all(frame).await?;
            }
            stream.flush().await
        };
        tokio::pin!(write);
        let written = loop {
            if outbound.closing().is_some() {
                break timeout(CLOSE_TIMEOUT, &mut write).await.is_ok_and(|written| written.is_ok());
            }
            tokio::select! {
                biased;
                written = &mut write => break written.is_ok(),
                () = outbound.work() => {}
            }
        };
        if !written {
            outbound.abandon();
            return true;
        }
        match outbound.taken_written() {
            Flushed::All => return false,
            Flushed::End => return true,
            Flushed::Blocked => {}
        }
    }
}
