//! Examines the first request of a plain connection and may take the connection over before HTTP.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, Version, header};
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::stream::Upgraded;

/// Maximum size of a head in bytes; HTTP serves longer ones.
const LONGEST: usize = 4 * 1024;
const MAX_FIELDS: usize = 32;

/// Takes over a connection that was read exactly to the end of its first request's head.
pub type TakeOver = Box<dyn FnOnce(Upgraded) + Send>;

/// Takes over connections whose first request asks for another protocol.
#[async_trait]
pub trait PreUpgrade: Send + Sync + 'static {
    /// Judges a connection's first request, which has an `Upgrade` field, no body, and a [`Peer`](super::Peer) in its
    /// extensions. With `None` HTTP serves the connection, from its first byte.
    async fn inspect(&self, request: &Parts) -> Option<TakeOver>;
}

/// The handler of the listener, if any.
#[derive(Clone, Default)]
pub struct PreUpgradeHandler(pub(super) Option<Arc<dyn PreUpgrade>>);

impl PreUpgradeHandler {
    /// Uses `look` as the handler.
    pub fn new(look: Arc<dyn PreUpgrade>) -> Self {
        Self(Some(look))
    }
}

impl fmt::Debug for PreUpgradeHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreUpgradeHandler").field(&self.0.is_some()).finish()
    }
}

/// Peeks a complete head with an upgrade, and returns it with its length. The bytes stay in the socket.
pub(super) fn peek(tcp: &TcpStream) -> io::Result<Option<(Parts, usize)>> {
    // On this call's stack, not in the connection's task.
    let mut bytes = [0; LONGEST];
    let (read, _) = tcp.try_io(Interest::READABLE, || Ok(rustix::net::recv(tcp, &mut bytes, RecvFlags::PEEK)?))?;
    Ok(parse(bytes.get(..read).unwrap_or_default()))
}

/// Reads the head that [`peek`] returned from the socket.
pub(super) fn consume(tcp: &TcpStream, length: usize) -> io::Result<()> {
    let mut bytes = [0; LONGEST];
    let head = bytes.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
    if tcp.try_read(head)? == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn parse(bytes: &[u8]) -> Option<(Parts, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).ok()? else { return None };
    let (mut parts, ()) = Request::builder().method(head.method?).uri(head.path?).body(()).ok()?.into_parts();
    for field in &*head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        parts.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    parts.version = if head.version? == 1 { Version::HTTP_11 } else { return None };
    let has = |name: &HeaderName| parts.headers.contains_key(name);
    let bodiless = !has(&header::CONTENT_LENGTH) && !has(&header::TRANSFER_ENCODING);
    (has(&header::UPGRADE) && bodiless && super::connection::names_host(&parts.headers, parts.version))
        .then_some((parts, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_heads_that_ask_for_another_protocol_are_seen() {
        let head = "GET /ws?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX: 1\r\nX: 2\r\n\r\n";
        let (parts, length) = parse(format!("{head}more").as_bytes()).unwrap();
        assert_eq!((parts.uri.path(), parts.uri.query(), length), ("/ws", Some("x=1"), head.len()));
        assert_eq!(parts.headers.get_all("x").iter().count(), 2);
        for left_to_http in [
            &head[..head.len() - 1],
            "",
            "garbage\r\n\r\n",
            &head.replace("Upgrade", "Upgraded"),
            &head.replace("Host: a", "Host: a\r\nHost: b"),
            &head.replace("HTTP/1.1", "HTTP/1.0"),
            &head.replace("X: 1", "Content-Length: 1"),
            &head.replace("X: 1", "Transfer-Encoding: chunked"),
            &head.replace("X: 1", &"X: 1\r\n".repeat(40)),
        ] {
            assert!(parse(left_to_http.as_bytes()).is_none(), "{left_to_http}");
        }
    }
}
