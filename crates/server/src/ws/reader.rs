use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::net::TcpStream;

/// Bytes per read. A buffer is allocated when bytes have arrived, and freed when they are used up.
const READ: usize = 4 * 1024;

/// The read side of a connection.
pub(super) enum Reader {
    /// A plain TCP socket, whose write side is shared with the senders.
    Direct(Arc<TcpStream>),
    /// Any other stream, such as TLS.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl Reader {
    /// Reads available bytes, at least one; 0 means the end. Cancel-safe.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Direct(socket) => loop {
                // Unlike `readable`, this adds no state to the future of a waiting connection, as nearly all are.
                poll_fn(|cx| socket.poll_read_ready(cx)).await?;
                buffer.reserve(READ);
                match read_all(socket, buffer) {
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

/// Reads available bytes. If they do not fill the buffer, the next read waits for readiness, which saves a read that would
/// block.
fn read_all(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let nothing = || io::Error::from(io::ErrorKind::WouldBlock);
    let mut outcome = Err(nothing());
    // The readiness dates from before the read, so later bytes are not missed.
    let _ = socket.try_io(Interest::READABLE, || {
        outcome = socket.try_read_buf(buffer);
        match outcome {
            Ok(1..) if buffer.len() < buffer.capacity() => Err(nothing()),
            _ => Ok(()),
        }
    });
    outcome
}
