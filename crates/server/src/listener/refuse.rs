//! Turning a connection away so that the client learns why.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::refusal::Refusal;

/// How long a client that is turned away may take to send its request, and again to stop sending.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most that is read, and thrown away, of what a client sends after its answer, in bytes.
const DISCARDED: usize = 1024 * 1024;

/// Answers 503 and closes. Waits a little for the request, since some clients don't expect an answer before it.
pub(super) async fn full(tcp: TcpStream) {
    let _ = timeout(PATIENCE, discard(&tcp)).await;
    full_at_once(&tcp);
    linger(tcp).await;
}

/// Answers 503 as far as that goes without waiting.
pub(super) fn full_at_once(tcp: &TcpStream) {
    // A new socket's buffer takes it whole. A client that doesn't get it sees the connection closed: no worse than
    // what would happen without.
    let _ = discard_now(tcp);
    let _ = tcp.try_write(&Refusal::Full.bytes());
}

/// Answers 408 (RFC 9110, section 15.5.9) and closes.
pub(super) async fn late_head(tcp: TcpStream) {
    let _ = tcp.try_write(&Refusal::HeadLate.bytes());
    linger(tcp).await;
}

/// Closes for writing first and reads on a little while, so that the system has no reason to reset the connection
/// before the client has read its answer (RFC 9112, section 9.6).
pub(super) async fn linger(mut tcp: TcpStream) {
    use tokio::io::AsyncWriteExt as _;

    if tcp.shutdown().await.is_err() {
        return;
    }
    let _ = timeout(PATIENCE, async {
        let mut left = DISCARDED;
        while left > 0 {
            match discard(&tcp).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    })
    .await;
}

/// Waits for bytes and throws them away. 0 is the end.
async fn discard(tcp: &TcpStream) -> io::Result<usize> {
    loop {
        tcp.readable().await?;
        match discard_now(tcp) {
            // Readiness is a guess; a new socket is often guessed to be ready.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

/// Not async, so that the buffer is no part of a connection's task.
fn discard_now(tcp: &TcpStream) -> io::Result<usize> {
    tcp.try_read(&mut [0; 8 * 1024])
}
