//! Checks the health of the server with this configuration, for systems without curl.

mod own_certificate;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::CliError;
use super::output::answer;
use crate::config::{ServerFlags, Settings};

/// Timeout for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum number of bytes read of the answer. Only its first line matters.
const MAX_ANSWER: u64 = 8 * 1024;

/// Ask the server on this machine whether it is alive
#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// Ask whether it can serve calls now (/readyz) instead of whether it is alive (/livez)
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    settings: ServerFlags,
}

impl Healthcheck {
    /// Succeeds if the server answers 200 within 5 seconds.
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.load()?.settings;
        let addr = SocketAddr::new(reachable(settings.host), settings.port);
        let path = if self.ready { "/readyz" } else { "/livez" };
        let not_healthy = |reason: String| CliError::NotHealthy { addr, reason };
        let status = match timeout(PATIENCE, ask(&settings, addr, path)).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(not_healthy(format!("does not answer: {error}"))),
            Err(_) => return Err(not_healthy(format!("does not answer within {} s", PATIENCE.as_secs()))),
        };
        if status != "200" {
            return Err(not_healthy(format!("answers {status} to {path}; its log says why")));
        }
        answer(format_args!("{addr}{path}: ok"));
        Ok(())
    }
}

/// The loopback address of a server that listens on every address.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

async fn ask(settings: &Settings, addr: SocketAddr, path: &str) -> io::Result<String> {
    let tcp = TcpStream::connect(addr).await?;
    match &settings.tls_cert {
        Some(certificate) => {
            let tls = own_certificate::connector(certificate)?.connect(addr.ip().into(), tcp).await?;
            exchange(tls, addr, path).await
        }
        None => exchange(tcp, addr, path).await,
    }
}

/// The status code of the answer (RFC 9112, section 4).
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, addr: SocketAddr, path: &str) -> io::Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    match text.split_ascii_whitespace().take(2).collect::<Vec<_>>()[..] {
        [version, status] if version.starts_with("HTTP/1.") => Ok(status.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "another program listens there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_status_line_is_read_and_nothing_else_is_believed() {
        for (answer, status) in [("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some("503")), ("SSH-2.0-x\r\n", None), ("", None)]
        {
            let (ours, mut theirs) = tokio::io::duplex(1_024);
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            let read = exchange(ours, "127.0.0.1:3001".parse().unwrap(), "/livez").await;
            assert_eq!(read.ok().as_deref(), status, "{answer:?}");
        }
    }
}
