//! Finds free ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Result, TaskError};

/// A free loopback port. Another process may take it at any time, so callers must be prepared to retry.
pub(crate) fn free() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(TaskError::io("finding a free port"))
}

#[cfg(test)]
mod tests {
    use super::free;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free().unwrap();
        assert_ne!(port, 0);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
