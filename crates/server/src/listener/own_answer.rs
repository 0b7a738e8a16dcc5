//! What hyper answers by itself, and how a problem takes its place.
//!
//! To a head that it can't read hyper answers a bare status, and nothing can be asked of it but silence about why. So the
//! socket puts the whole answer in its place as it goes out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::HeaderMap;
use tokio::io::AsyncWrite;

use super::refusal::Refusal;

/// Longer than any head that hyper makes by itself.
const LONGEST: usize = 256;

/// Stands in for an answer of hyper's own.
#[derive(Debug)]
pub(super) struct Replacement {
    bytes: Vec<u8>,
    written: usize,
}

/// Recognises an answer of hyper's own: it comes whole, is of a few kinds, has no body and closes the connection. Of those
/// made above this none has no body.
pub(super) fn recognise(written: &[u8]) -> Option<Refusal> {
    if written.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(written).ok()?;
    let head = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "))?.strip_suffix("\r\n\r\n")?;
    let refusal = Refusal::of_hyper(head.get(..3)?.parse().ok()?)?;
    let has = |field: &str| head.lines().any(|line| line.eq_ignore_ascii_case(field));
    (!head.contains("\r\n\r\n") && has("content-length: 0") && has("connection: close")).then_some(refusal)
}

impl Replacement {
    pub(super) fn new(refusal: Refusal, cross_origin: &HeaderMap) -> Self {
        Self { bytes: refusal.bytes(cross_origin), written: 0 }
    }

    /// Writes what is left of it.
    pub(super) fn poll_write(&mut self, mut io: impl AsyncWrite + Unpin, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_answers_are_recognised() {
        let own = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(recognise(own.as_bytes()), Some(Refusal::Malformed));
        for other in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 \r\n\r\n",
            &own.replace("close", "keep-alive"),
            &own.replace(": 0", ": 10"),
            &own.replace("400", "404"),
            &own.replace("400", "200"),
            &own.replace("HTTP/1.1", "HTTP/2.0"),
            &own[..own.len() - 2],
            &format!("{own}{own}"),
            &format!("x{own}"),
        ] {
            assert_eq!(recognise(other.as_bytes()), None, "{other:?}");
        }
    }
}
