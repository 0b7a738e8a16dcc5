//! Parses the details of a request's head that hyper hides.
//!
//! hyper removes `Content-Length` beside `Transfer-Encoding`, and does not report the head of a request that it rejects itself.

use axum::http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use memchr::memchr;

/// Maximum number of bytes kept of an incomplete line.
const LONGEST: usize = 1024;

/// The fields on which a CORS answer depends.
const CROSS_ORIGIN: [HeaderName; 3] = [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS];

/// One request's head, parsed incrementally.
#[derive(Debug, Default)]
pub(super) struct Head {
    begun: bool,
    ended: bool,
    /// An incomplete line.
    line: Vec<u8>,
    options: bool,
    length: bool,
    coding: Coding,
    fields: HeaderMap,
}

/// `Transfer-Encoding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    /// Any other coding, or several.
    Other,
}

impl Head {
    /// Parses the next bytes, up to the end of the head.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended {
            let Some(end) = memchr(b'\n', bytes) else { return self.keep(bytes) };
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.read(line);
            } else {
                self.keep(line);
                let mut line = std::mem::take(&mut self.line);
                self.read(&line);
                line.clear();
                self.line = line;
            }
        }
    }

    /// Whether the head is complete.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether both `Content-Length` and `Transfer-Encoding` are present (RFC 9112, section 6.3).
    pub(super) fn has_two_lengths(&self) -> bool {
        self.length && self.coding != Coding::None
    }

    /// Whether the body has an unsupported transfer coding (RFC 9112, section 6.1).
    pub(super) fn has_unknown_coding(&self) -> bool {
        self.coding == Coding::Other
    }

    /// `OPTIONS`, or `GET` for all other methods: early answers need no more.
    pub(super) fn method(&self) -> Method {
        if self.options { Method::OPTIONS } else { Method::GET }
    }

    /// The CORS fields of the request.
    pub(super) fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// Resets it for the next head.
    pub(super) fn clear(&mut self) {
        if self.begun || !self.line.is_empty() {
            *self = Self::default();
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.line.len());
        self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn read(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !self.begun {
            // Empty lines before a request are ignored (RFC 9112, section 2.2).
            self.begun = !line.is_empty();
            self.options = line.starts_with(b"OPTIONS ");
            return;
        }
        if line.is_empty() {
            self.ended = true;
            return;
        }
        if !matches!(line.first(), Some(b'A' | b'a' | b'C' | b'c' | b'O' | b'o' | b'T' | b't')) {
            return;
        }
        let value = |name: &str| {
            let (found, value) = line.split_at_checked(name.len())?;
            if found.eq_ignore_ascii_case(name.as_bytes()) { value.strip_prefix(b":") } else { None }
        };
        if value("content-length").is_some() {
            self.length = true;
        } else if let Some(coding) = value("transfer-encoding") {
            let alone = self.coding == Coding::None && is_chunked(coding);
            self.coding = if alone { Coding::Chunked } else { Coding::Other };
        } else if let Some((name, value)) = CROSS_ORIGIN.iter().find_map(|name| Some((name, value(name.as_str())?)))
            && let Ok(value) = HeaderValue::from_bytes(value.trim_ascii())
        {
            self.fields.append(name, value);
        }
    }
}

/// Whether this is the only supported transfer coding.
pub(super) fn is_chunked(value: &[u8]) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parsed at once, and byte by byte.
    fn heads(text: &str) -> [Head; 2] {
        let (mut whole, mut drip) = (Head::default(), Head::default());
        whole.feed(text.as_bytes());
        text.bytes().for_each(|byte| drip.feed(&[byte]));
        [whole, drip]
    }

    #[test]
    fn lengths_and_codings_are_seen() {
        for (fields, two_lengths, unknown) in [
            ("", false, false),
            ("Content-Length: 3\r\n", false, false),
            ("Transfer-Encoding: chunked\r\n", false, false),
            ("transfer-encoding:  Chunked \r\n", false, false),
            ("Transfer-Encoding: gzip, chunked\r\n", false, true),
            ("Transfer-Encoding: chunked, chunked\r\n", false, true),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", false, true),
            ("Transfer-Encoding: identity\r\n", false, true),
            ("Transfer-Encoding:\r\n", false, true),
            ("Transfer-Encoding: chunked\r\nX: y\r\ncontent-LENGTH: 3\r\n", true, false),
            ("Content-Length: 3\nTransfer-Encoding: gzip\n", true, true),
            ("X-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", false, false),
        ] {
            for head in heads(&format!("\r\nPOST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\nContent-Length: 1\r\n\r\n")) {
                assert!(head.ended());
                assert_eq!((head.has_two_lengths(), head.has_unknown_coding()), (two_lengths, unknown), "{fields}");
            }
        }
    }

    #[test]
    fn preflights_are_seen() {
        let text = "OPTIONS /a HTTP/1.1\r\norigin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
        for head in heads(text) {
            assert_eq!(head.method(), Method::OPTIONS);
            assert_eq!(head.fields()[ORIGIN], "https://a.example");
            assert_eq!(head.fields()[ACCESS_CONTROL_REQUEST_METHOD], "POST");
        }
        assert!(heads(&text.replace("OPTIONS", "POST")).iter().all(|head| head.method() == Method::GET));
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let mut head = Head::default();
        head.feed(b"GET / HTTP/1.1\r\norigin: ");
        (0..100).for_each(|_| head.feed(&[b'x'; 1000]));
        assert!(head.line.len() <= LONGEST);
        head.feed(b"\r\nOrigin: https://a.example\r\n");
        assert!(head.fields().get_all(ORIGIN).iter().any(|origin| origin == "https://a.example"));
        head.clear();
        assert!(head.fields().is_empty() && !head.ended());
    }
}
