use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use rand::rngs::StdRng;
use reqwest::Url;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

use crate::error::RunError;

/// A proxy in front of the server that cuts connections at arbitrary points.
#[derive(Debug)]
pub(crate) struct Cutter {
    url: String,
    open: Arc<Mutex<Vec<AbortHandle>>>,
    accepting: JoinHandle<()>,
}

impl Cutter {
    /// A proxy for the server at `url`, which must be plain HTTP, because a certificate would name another host.
    pub(crate) async fn start(url: &str) -> Result<Self, RunError> {
        let usage = || RunError::Usage(format!("{url:?} must be an address such as http://127.0.0.1:3001, without TLS"));
        let address = Url::parse(url).map_err(|_| usage())?;
        let (host, port) = address.host_str().zip(address.port_or_known_default()).ok_or_else(usage)?;
        if address.scheme() != "http" {
            return Err(usage());
        }
        let failed = |source: io::Error| RunError::Io { what: "the proxy that cuts connections", source };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?;
        let open = Arc::default();
        let accepting = tokio::spawn(accept(listener, (host.trim_matches(['[', ']']).to_owned(), port), Arc::clone(&open)));
        Ok(Self { url: format!("http://{own}{}", address.path()), open, accepting })
    }

    /// The proxy's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Cuts a random connection; false if there is none.
    pub(crate) fn cut_one(&self, random: &mut StdRng) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|connection| !connection.is_finished());
        if open.is_empty() {
            return false;
        }
        let which = random.random_range(0..open.len());
        open.swap_remove(which).abort();
        true
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: (String, u16), open: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let server = server.clone();
        let passing = tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(server).await {
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
        open.lock().unwrap_or_else(PoisonError::into_inner).push(passing.abort_handle());
    }
}
