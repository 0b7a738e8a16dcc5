use std::fmt;
use std::time::Duration;

use reqwest::Url;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::client::{Client, Token};
use crate::connection::tls;
use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the server's own timeout of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Configures a [`Client`]; created by [`Client::builder`].
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = std::fs::read("our-authority.pem")?;
/// let client = chatsphere_client::Client::builder("https://chat.internal", std::env::var("CHATSPHERE_TOKEN")?)
///     .trust(&authority)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ClientBuilder {
    base_url: String,
    token: String,
    trusted: Vec<Vec<u8>>,
}

impl ClientBuilder {
    pub(crate) fn new(base_url: &str, token: String) -> Self {
        Self { base_url: base_url.to_owned(), token, trusted: Vec::new() }
    }

    /// Trusts these certificates, and certificates signed by them, in addition to the system's: PEM text with one or more
    /// certificates, such as that of a private authority or a self-signed one. Applies to calls and connections.
    pub fn trust(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.trusted.push(pem.as_ref().to_vec());
        self
    }

    /// Creates the client. Sends no request.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Token`], [`Error::Certificate`], and [`Error::Tls`] for an `https` address if the system's
    /// or the trusted certificates are unusable.
    pub fn build(self) -> Result<Client, Error> {
        let base = address(&self.base_url)?;
        let trusted = self.certificates()?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            // A redirect could send a POST, and the token, to another server.
            .redirect(reqwest::redirect::Policy::none());
        let mut connector = None;
        if base.scheme() == "https" {
            let config = tls::config(trusted).map_err(Error::Tls)?;
            http = http.tls_backend_preconfigured(config.clone());
            connector = Some(tls::connector(config));
        }
        let http = http.build().map_err(Error::Transport)?;
        Ok(Client::of(http, base, Token::parse(&self.token)?, connector))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let mut all = Vec::new();
        for pem in &self.trusted {
            let before = all.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                all.push(certificate.map_err(|_| Error::Certificate)?);
            }
            // PEM without a certificate is an error, because it would otherwise surface later as a failed connection.
            if all.len() == before {
                return Err(Error::Certificate);
            }
        }
        Ok(all)
    }
}

fn address(text: &str) -> Result<Url, Error> {
    let mut base = Url::parse(text).map_err(|_| Error::Address(text.to_owned()))?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() || base.query().is_some() {
        return Err(Error::Address(text.to_owned()));
    }
    let path = base.path().trim_end_matches('/').to_owned();
    base.set_path(&path);
    Ok(base)
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in
            ["", "x", "-----BEGIN CERTIFICATE-----\nMIIB", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"]
        {
            let built = Client::builder("https://h", "t").trust(pem).build();
            assert!(matches!(built, Err(Error::Certificate)), "{pem:?}");
        }
        // Valid PEM, but not a certificate.
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Client::builder("https://h", "t").trust(pem).build(), Err(Error::Tls(_))));
    }

    #[test]
    fn a_token_is_never_shown() {
        assert!(!format!("{:?}", Client::builder("http://h", "secret")).contains("secret"));
    }
}
