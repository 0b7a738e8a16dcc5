//! Lingering close: ends a connection so that the client can read the last answer.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::early_error::{EarlyAnswers, EarlyError};
use super::head::Head;
use super::unread::Allowance;

/// How long a rejected client may take to send its request.
const PATIENCE: Duration = Duration::from_millis(500);
/// Maximum number of bytes read of a rejected request's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// Answers 503 and closes. Waits briefly for the request, because some clients do not expect an earlier answer.
pub(super) async fn full(tcp: TcpStream, answers: &EarlyAnswers) {
    let mut head = Head::default();
    let _ = timeout(PATIENCE, read_head(&tcp, &mut head)).await;
    answer_full(&tcp, &head, answers);
    linger(tcp, Allowance::hurried()).await;
}

/// Answers 503 without waiting.
pub(super) fn full_at_once(tcp: &TcpStream, answers: &EarlyAnswers) {
    let mut head = Head::default();
    let _ = read_now(tcp, &mut head);
    answer_full(tcp, &head, answers);
}

/// The send buffer of a new socket holds the answer. If it does not, the client only sees the connection closed.
fn answer_full(tcp: &TcpStream, head: &Head, answers: &EarlyAnswers) {
    let _ = tcp.try_write(&answers.bytes(EarlyError::Full, &head.method(), head.fields()));
}

/// Answers 408 (RFC 9110, section 15.5.9) and closes.
pub(super) async fn late_head(tcp: TcpStream, answer: &[u8]) {
    let _ = tcp.try_write(answer);
    linger(tcp, Allowance::hurried()).await;
}

/// Shuts down the write side and drains for a while, so that the system does not reset the connection before the client has
/// read its answer (RFC 9112, section 9.6).
pub(super) async fn linger(mut tcp: TcpStream, mut allowance: Allowance) {
    use tokio::io::AsyncWriteExt as _;

    if tcp.shutdown().await.is_err() {
        return;
    }
    loop {
        match timeout_at(allowance.due(), discard(&tcp)).await {
            Ok(Ok(read)) if read > 0 && allowance.take(read) => {}
            _ => return,
        }
    }
}

/// Reads until the head is complete or the connection ends.
async fn read_head(tcp: &TcpStream, head: &mut Head) {
    let mut read = 0;
    while !head.ended() && read < LONGEST_HEAD {
        if tcp.readable().await.is_err() {
            return;
        }
        match read_now(tcp, head) {
            Ok(more) if more > 0 => read += more,
            // Readiness may be spurious, and often is for a new socket.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// Reads and discards bytes. 0 means the end.
async fn discard(tcp: &TcpStream) -> io::Result<usize> {
    loop {
        tcp.readable().await?;
        match discard_now(tcp) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

/// Not async, so that the buffer does not enlarge the connection's task.
fn discard_now(tcp: &TcpStream) -> io::Result<usize> {
    tcp.try_read(&mut [0; 8 * 1024])
}

fn read_now(tcp: &TcpStream, head: &mut Head) -> io::Result<usize> {
    let mut bytes = [0; 8 * 1024];
    let read = tcp.try_read(&mut bytes)?;
    head.feed(bytes.get(..read).unwrap_or_default());
    Ok(read)
}
