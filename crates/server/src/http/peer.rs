use std::net::SocketAddr;

/// Who is at the other end of the connection. The listener puts it into each request's extensions; a request without it is
/// treated as coming from afar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, read through trusted proxies alone.
    pub addr: SocketAddr,
    /// The connection itself comes from this machine, and no proxy stands in between that could hide someone else.
    pub direct_loopback: bool,
}
