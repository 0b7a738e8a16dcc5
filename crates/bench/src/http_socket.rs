use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::address::Address;
use crate::error::RunError;
use crate::wire;

const READ: usize = 64 * 1024;

/// A keep-alive HTTP/1.1 connection with minimal cost for the generator: requests are prepared bytes, and only the status and
/// length of an answer are parsed.
#[derive(Debug)]
pub(crate) struct HttpSocket {
    stream: TcpStream,
    buffer: BytesMut,
}

impl HttpSocket {
    pub(crate) async fn open(address: &Address) -> Result<Self, RunError> {
        let stream = address.connect().await.map_err(failed)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(READ) })
    }

    /// Sends a request and waits for the complete answer, which must be a success; returns the length of its body.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<usize, RunError> {
        self.stream.write_all(request).await.map_err(failed)?;
        loop {
            if let Some(answer) = answer(&self.buffer)? {
                if self.buffer.len() >= answer.head + answer.body {
                    if !(200..300).contains(&answer.status) {
                        let text = String::from_utf8_lossy(self.buffer.get(answer.head..).unwrap_or_default()).into_owned();
                        return Err(RunError::Unexpected(format!("a call was answered with {}: {text}", answer.status)));
                    }
                    self.buffer.advance(answer.head + answer.body);
                    return Ok(answer.body);
                }
                self.buffer.reserve(answer.head + answer.body - self.buffer.len());
            }
            self.buffer.reserve(READ);
            if self.stream.read_buf(&mut self.buffer).await.map_err(failed)? == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// A request with a token and an optional JSON body.
pub(crate) fn request(address: &Address, method: &str, path: &str, token: &str, body: Option<&str>) -> Vec<u8> {
    let body = body.map(|body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    format!(
        "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{}",
        address.path,
        address.authority(),
        body.as_deref().unwrap_or("\r\n")
    )
    .into_bytes()
}

struct Answer {
    status: u64,
    head: usize,
    body: usize,
}

/// The status and length of an answer, once its head is complete.
fn answer(bytes: &[u8]) -> Result<Option<Answer>, RunError> {
    // Heads are short, so a body in the same buffer is not searched.
    let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
    let strange = || RunError::Unexpected("an answer has no status or no length".to_owned());
    let mut lines = bytes.get(..head).unwrap_or_default().split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| wire::number(line.strip_prefix(b"HTTP/1.1 ")?)).ok_or_else(strange)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(b"content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then(|| wire::number(value.trim_ascii_start()))?
    });
    let body = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(strange)?;
    Ok(Some(Answer { status, head: head + 4, body }))
}

fn failed(source: io::Error) -> RunError {
    RunError::Io { what: "calling the server", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_measured() {
        let bytes = b"HTTP/1.1 201 Created\r\nContent-Type: a\r\ncontent-LENGTH: 12\r\n\r\n{";
        let Answer { status, head, body } = answer(bytes).unwrap().unwrap();
        assert_eq!((status, head, body), (201, bytes.len() - 1, 12));
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n").unwrap().is_none());
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_is_written() {
        let address = Address::parse("http://127.0.0.1:3001/chat").unwrap();
        let text = String::from_utf8(request(&address, "POST", "/api/rooms", "t", Some("{}"))).unwrap();
        assert!(text.starts_with("POST /chat/api/rooms HTTP/1.1\r\nHost: 127.0.0.1:3001\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
        assert!(request(&address, "GET", "/", "t", None).ends_with(b"Bearer t\r\n\r\n"));
    }
}
