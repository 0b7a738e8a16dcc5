//! The client's address and security, as determined by the listener.

use std::net::SocketAddr;

/// The client behind a request, stored in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address: that of the TCP peer, or the one reported by a trusted proxy, with port 0. An IPv4 address is
    /// never written as an IPv6 one.
    pub addr: SocketAddr,
    /// Whether the client reached this server, or the trusted proxy before it, over TLS.
    pub secure: bool,
    /// Whether the client runs on this machine without a proxy: the TCP peer is a loopback address, and the head has no
    /// forwarding field.
    pub direct_loopback: bool,
}
