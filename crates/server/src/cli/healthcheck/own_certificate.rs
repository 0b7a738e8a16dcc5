//! TLS to the server on this machine: its certificate must be the configured one, whatever its name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chatsphere_store::certificates::client_config;
use rustls::client::danger::ServerCertVerified;
use rustls::{CertificateError, Error};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

/// A connector that accepts the first certificate of the file and no other.
pub(super) fn connector(certificate: &Path) -> io::Result<TlsConnector> {
    let own = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let config = client_config(move |shown, _, _, _, _| {
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if *shown == own { Ok(ServerCertVerified::assertion()) } else { Err(refused) }
    });
    Ok(TlsConnector::from(Arc::new(config.map_err(io::Error::other)?)))
}
