use std::io;

use reqwest::Url;
use tokio::net::TcpStream;

use crate::error::RunError;

/// The server's address, for raw sockets.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    host: String,
    port: u16,
    /// The path before `/ws` and `/api`, without a trailing slash.
    pub(crate) path: String,
}

impl Address {
    /// Parses a URL; plain HTTP only.
    pub(crate) fn parse(url: &str) -> Result<Self, RunError> {
        let usage = || RunError::Usage(format!("{url:?} must be an address such as http://127.0.0.1:3001, without TLS"));
        let address = Url::parse(url).map_err(|_| usage())?;
        let (host, port) = address.host_str().zip(address.port_or_known_default()).ok_or_else(usage)?;
        if address.scheme() != "http" {
            return Err(usage());
        }
        Ok(Self { host: host.to_owned(), port, path: address.path().trim_end_matches('/').to_owned() })
    }

    /// The value of the header `Host`.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let address = Address::parse("http://[::1]:3001/chat/").unwrap();
        assert_eq!((address.authority().as_str(), address.path.as_str()), ("[::1]:3001", "/chat"));
        assert!(Address::parse("https://127.0.0.1").is_err());
        assert!(Address::parse("nowhere").is_err());
    }
}
