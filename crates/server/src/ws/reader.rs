use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::net::TcpStream;

/// Bytes read at a time. A buffer is allocated when bytes have arrived, and freed when they are used up.
const READ: usize = 4 * 1024;

/// The read side of a connection.
pub(super) enum Reader {
    /// A plain TCP socket, whose write side the senders share.
    Direct(Arc<TcpStream>),
    /// Any other stream, such as TLS.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl Reader {
    /// Reads what has arrived, at least one byte; 0 is the end. Cancel-safe.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Direct(socket) => loop {
                // Unlike `readable`, this keeps no state in the future of a connection that waits, as nearly all do.
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

/// Reads what has arrived. If that was less than the buffer has room for, it was all: the next read waits until the kernel
/// tells of more, which saves a read that finds nothing.
fn read_all(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let nothing = || io::Error::from(io::ErrorKind::WouldBlock);
    let mut outcome = Err(nothing());
    // The socket's readiness is that of before the read, so bytes that come after it are not missed.
    let _ = socket.try_io(Interest::READABLE, || {
        outcome = socket.try_read_buf(buffer);
        match outcome {
            Ok(1..) if buffer.len() < buffer.capacity() => Err(nothing()),
            _ => Ok(()),
        }
    });
    outcome
}
