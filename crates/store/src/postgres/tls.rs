//! TLS to the server. Its certificate is verified as by libpq, so that a URL that works with `psql` works here.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::certificates::client_config;
use crate::error::OpenError;
use crate::url::{PostgresUrl, Verify};

pub(super) fn connector(url: &PostgresUrl) -> Result<MakeRustlsConnect, OpenError> {
    // `sslmode=require` requires only encryption; `verify-ca` requires the certificate of a trusted authority, for any host.
    let config = match url.verify {
        Verify::Nothing => client_config(|_, _, _, _, _| Ok(ServerCertVerified::assertion())),
        Verify::Authority => {
            let inner = verifier(url.root_certificates.as_deref())?;
            client_config(move |certificate, intermediates, name, ocsp, now| {
                // The verifier checks the name last, so after this error everything else is valid.
                match inner.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                    Err(Error::InvalidCertificate(
                        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                    )) => Ok(ServerCertVerified::assertion()),
                    result => result,
                }
            })
        }
        Verify::Host => {
            let inner = verifier(url.root_certificates.as_deref())?;
            client_config(move |certificate, intermediates, name, ocsp, now| {
                inner.verify_server_cert(certificate, intermediates, name, ocsp, now)
            })
        }
    };
    Ok(MakeRustlsConnect::new(config.map_err(|error| certificates(&error))?))
}

fn verifier(file: Option<&Path>) -> Result<Arc<WebPkiServerVerifier>, OpenError> {
    let mut roots = RootCertStore::empty();
    match file.filter(|file| *file != Path::new("system")) {
        Some(file) => {
            let unreadable = |error: rustls_pki_types::pem::Error| certificates(&format!("{}: {error}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?).map_err(|error| certificates(&error))?;
            }
        }
        // The system's store may contain certificates that can't be parsed. The others are used.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()))
        .build()
        .map_err(|error| certificates(&error))
}

fn certificates(reason: &dyn std::fmt::Display) -> OpenError {
    OpenError::Certificates { reason: reason.to_string() }
}
