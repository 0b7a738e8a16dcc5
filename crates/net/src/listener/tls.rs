//! TLS 1.2 and 1.3, with a certificate and key from PEM files that can be reloaded while serving.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::stream::TimedStream;

/// A certificate with its key, and their files. Clones share them, so [`Tls::reload`] affects a running listener.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

/// Why a certificate and key are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is missing or unreadable.
    #[error("{} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file isn't PEM.
    #[error("{} is not a PEM file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parse error.
        source: pem::Error,
    },
    /// No `CERTIFICATE` section.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No section with a private key.
    #[error("{} holds no private key, or one protected by a passphrase", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key belongs to another certificate; the server's own certificate must be first in its file.
    #[error("the key in {} does not belong to the first certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Any other error, such as an unsupported key type or an unparseable certificate.
    #[error("the certificate in {} can't be used", certificate.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The error of the TLS library.
        source: rustls::Error,
    },
}

impl Tls {
    /// Loads a certificate chain, the server's own certificate first, and its private key (RFC 7468).
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = RwLock::new(config(certificate, key)?);
        Ok(Self(Arc::new(Inner { certificate: certificate.to_owned(), key: key.to_owned(), config })))
    }

    /// Reloads both files. New connections use them; open connections are unaffected.
    ///
    /// # Errors
    /// [`TlsError`]; the previous certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = config(&self.0.certificate, &self.0.key)?;
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Reloads at every SIGHUP until `shutdown`, for hooks of `certbot` and similar tools.
    ///
    /// # Errors
    /// If the signal handler cannot be installed.
    #[cfg(unix)]
    pub async fn reload_on_hangup(self, shutdown: CancellationToken) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let mut hangup = signal(SignalKind::hangup())?;
        while let Some(Some(())) = shutdown.run_until_cancelled(hangup.recv()).await {
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(())) => tracing::info!("certificate reloaded"),
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the certificate was not reloaded, the old one stays in use");
                }
                Err(error) => tracing::error!(%error, "the certificate was not reloaded"),
            }
        }
        Ok(())
    }

    pub(super) async fn accept(&self, tcp: TimedStream) -> io::Result<TlsStream<TimedStream>> {
        let config = Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(tcp).await
    }
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read(certificate)?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Malformed { path: certificate.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { path: key.to_owned() },
        source => TlsError::Malformed { path: key.to_owned(), source },
    })?;
    let unusable = |source| TlsError::Unusable { certificate: certificate.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::KeyMismatch { certificate: certificate.to_owned(), key: key.to_owned() }
            }
            source => unusable(source),
        })?;
    // Only HTTP/1.1 is offered; a client that supports only HTTP/2 fails in the handshake (RFC 7301).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // After a network failure thousands of clients reconnect at once; a resumed handshake costs a fraction of a full one.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}
