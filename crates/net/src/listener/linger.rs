//! Ending a connection so that the client reads the last answer.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::early_error::{EarlyAnswers, EarlyError};
use super::head::Head;
use super::unread::Allowance;

/// How long a client that is turned away may take to send its request.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most of a request's head that is read before it is turned away, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// Answers 503 and closes. Waits a little for the request, since some clients don't expect an answer before it.
pub(super) async fn full(tcp: TcpStream, answers: &EarlyAnswers) {
    let mut head = Head::default();
    let _ = timeout(PATIENCE, read_head(&tcp, &mut head)).await;
    answer_full(&tcp, &head, answers);
    linger(tcp, Allowance::hurried()).await;
}

/// Answers 503 as far as that goes without waiting.
pub(super) fn full_at_once(tcp: &TcpStream, answers: &EarlyAnswers) {
    let mut head = Head::default();
    let _ = read_now(tcp, &mut head);
    answer_full(tcp, &head, answers);
}

/// A new socket's buffer takes the answer whole. A client that doesn't get it sees the connection closed: no worse than what
/// would happen without.
fn answer_full(tcp: &TcpStream, head: &Head, answers: &EarlyAnswers) {
    let _ = tcp.try_write(&answers.bytes(EarlyError::Full, &head.method(), head.fields()));
}

/// Answers 408 (RFC 9110, section 15.5.9) and closes.
pub(super) async fn late_head(tcp: TcpStream, answer: &[u8]) {
    let _ = tcp.try_write(answer);
    linger(tcp, Allowance::hurried()).await;
}

/// Closes for writing first and reads on a while, so that the system has no reason to reset the connection before the client
/// has read its answer (RFC 9112, section 9.6).
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

/// Waits for a whole head, or the end.
async fn read_head(tcp: &TcpStream, head: &mut Head) {
    let mut read = 0;
    while !head.ended() && read < LONGEST_HEAD {
        if tcp.readable().await.is_err() {
            return;
        }
        match read_now(tcp, head) {
            Ok(more) if more > 0 => read += more,
            // Readiness is a guess; a new socket is often guessed to be ready.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// Waits for bytes and throws them away. 0 is the end.
async fn discard(tcp: &TcpStream) -> io::Result<usize> {
    loop {
        tcp.readable().await?;
        match discard_now(tcp) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

/// Not async, so that the buffer is no part of a connection's task.
fn discard_now(tcp: &TcpStream) -> io::Result<usize> {
    tcp.try_read(&mut [0; 8 * 1024])
}

fn read_now(tcp: &TcpStream, head: &mut Head) -> io::Result<usize> {
    let mut bytes = [0; 8 * 1024];
    let read = tcp.try_read(&mut bytes)?;
    head.feed(bytes.get(..read).unwrap_or_default());
    Ok(read)
}
