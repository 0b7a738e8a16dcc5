//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Result, TaskError};

/// A loopback port that nothing listens on. Someone else may take it at once, so whoever uses it must be ready to ask again.
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
