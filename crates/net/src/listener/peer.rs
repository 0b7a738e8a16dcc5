//! Who is at the other end, as told to the front doors.

use std::net::SocketAddr;

/// The client behind a request. Among the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address: that of the TCP peer, or the one that a trusted proxy reports, its port then 0. An IPv4
    /// address is never written as an IPv6 one.
    pub addr: SocketAddr,
    /// Whether the client reached this server, or the trusted proxy before it, over TLS.
    pub secure: bool,
    /// Whether the client runs on this machine and nothing stands between: the TCP peer is a loopback address, and no
    /// field of the head speaks of a proxy.
    pub direct_loopback: bool,
}
