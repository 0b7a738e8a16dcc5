use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

/// Bytes asked for at a time. Memory is taken only when bytes have arrived, and given back when they are used up.
const READ: usize = 4 * 1024;

/// The read side of a connection.
pub(super) enum Reader {
    /// A plain TCP socket, whose write side others share.
    Direct(Arc<TcpStream>),
    /// Anything else, such as TLS.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl Reader {
    /// Reads what has arrived, at least one byte; 0 is the end. Cancel-safe.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Direct(socket) => loop {
                // Unlike `readable`, this keeps nothing in the future of a connection that waits, as nearly all do.
                poll_fn(|cx| socket.poll_read_ready(cx)).await?;
                buffer.reserve(READ);
                match socket.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if buffer.is_empty() {
                            *buffer = BytesMut::new();
                        }
                    }
                    read => return read,
                }
            },
            Self::Stream(stream) => {
                buffer.reserve(READ);
                stream.read_buf(buffer).await
            }
        }
    }
}
