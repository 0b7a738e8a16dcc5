//! The configuration of the connection to NATS: credentials and TLS files, parsed and checked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::url::{Login, NatsUrl, Server};

/// Timeout for each step of connecting.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is pinged; two missing answers end it.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of messages waiting to be read per subscription, and to be written per connection. A message has at most the
/// server's `max_payload`, 1 MiB by default.
const SUBSCRIPTION_CAPACITY: usize = 64;
const CLIENT_CAPACITY: usize = 64;

/// How this node connects to NATS.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The servers, with the credentials in their addresses.
    pub url: NatsUrl,
    /// Credentials from other settings.
    pub credentials: Credentials,
    /// Trusted authorities and this node's certificate.
    pub tls: NatsTls,
}

impl NatsOptions {
    /// Options with only the addresses set.
    pub fn new(url: NatsUrl) -> Self {
        Self { url, credentials: Credentials::Url, tls: NatsTls::default() }
    }

    /// Checks everything that can be checked without connecting: seeds and files.
    ///
    /// # Errors
    /// The first unusable file or seed, and the reason.
    pub fn check(&self) -> Result<(), InvalidNats> {
        match &self.credentials {
            Credentials::Url | Credentials::Nkey(_) => {}
            Credentials::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| InvalidNats::file(path, &error.to_string()))?;
                if ConnectOptions::new().credentials(&text).is_err() {
                    return Err(InvalidNats::file(path, "it holds no JWT with a seed, as `nsc generate creds` writes them"));
                }
            }
        }
        for path in [&self.tls.authorities, &self.tls.certificate].into_iter().flatten() {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| InvalidNats::file(path, &error.to_string()))?;
            if certificates.is_empty() {
                return Err(InvalidNats::file(path, "it holds no certificate"));
            }
        }
        if let Some(path) = &self.tls.key {
            PrivateKeyDer::from_pem_file(path).map_err(|error| InvalidNats::file(path, &error.to_string()))?;
        }
        Ok(())
    }

    /// The address of one server, and the library's options for connecting to it. The library's own reconnection is off:
    /// this node reconnects itself and reports failures.
    pub(super) async fn for_server(&self, server: &Server) -> io::Result<(ServerAddr, ConnectOptions)> {
        let mut options = ConnectOptions::new()
            .name("chatsphere")
            .max_reconnects(1)
            .ignore_discovered_servers()
            .connection_timeout(STEP_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .client_capacity(CLIENT_CAPACITY);
        options = match (&self.credentials, &server.login) {
            (Credentials::Nkey(seed), _) => options.nkey(seed.0.clone()),
            (Credentials::File(path), _) => options.credentials_file(path).await?,
            (Credentials::Url, Some(Login::User { name, password })) => {
                options.user_and_password(name.clone(), password.clone())
            }
            (Credentials::Url, Some(Login::Token(token))) => options.token(token.clone()),
            (Credentials::Url, None) => options,
        };
        if let Some(path) = &self.tls.authorities {
            options = options.add_root_certificates(path.clone());
        }
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        // Custom authorities or a client certificate require TLS, whatever the scheme of the address.
        let tls = server.requires_tls || self.tls != NatsTls::default();
        Ok((server.address()?, options.require_tls(tls)))
    }
}

/// How a node authenticates if the address contains no credentials.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// By the credentials in the address, or without any.
    #[default]
    Url,
    /// By an nkey.
    Nkey(NkeySeed),
    /// By a file with a JWT and a seed, as `nsc` writes it. It is read again at each connection attempt.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "Url",
            Self::Nkey(_) => "Nkey(hidden)",
            Self::File(_) => "File",
        })
    }
}

/// The seed of an nkey, as `nk -gen user` writes it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct NkeySeed(String);

impl FromStr for NkeySeed {
    type Err = InvalidNats;

    fn from_str(text: &str) -> Result<Self, InvalidNats> {
        match nkeys::KeyPair::from_seed(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => {
                Err(InvalidNats("it is not the seed of an nkey, which begins with SU; `nk -gen user` makes one".to_owned()))
            }
        }
    }
}

impl fmt::Debug for NkeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NkeySeed(hidden)")
    }
}

/// The TLS files, in PEM. They are read again at each connection attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatsTls {
    /// Certificates of the trusted authorities, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// This node's certificate.
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
}

/// Why the NATS configuration is unusable. Contains only the host of an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidNats(pub(super) String);

impl InvalidNats {
    fn file(path: &Path, why: &str) -> Self {
        Self(format!("{}: {why}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> String {
        nkeys::KeyPair::new_user().seed().unwrap()
    }

    #[test]
    fn nothing_secret_is_shown() {
        let options = NatsOptions {
            credentials: Credentials::Nkey(seed().parse().unwrap()),
            ..NatsOptions::new("nats://ada:s3cret@bus".parse().unwrap())
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("SU"), "{shown}");
        assert!(!"SUAs3cret".parse::<NkeySeed>().unwrap_err().to_string().contains("s3cret"));
    }

    #[test]
    fn files_are_looked_at_before_connecting() {
        let directory = std::env::temp_dir().join(format!("chatsphere-nats-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let empty = directory.join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let absent = directory.join("absent.pem");
        let options = || NatsOptions::new("nats://bus".parse().unwrap());
        for path in [&empty, &absent] {
            let some = || Some(path.clone());
            for tls in [
                NatsTls { authorities: some(), ..NatsTls::default() },
                NatsTls { certificate: some(), ..NatsTls::default() },
                NatsTls { key: some(), ..NatsTls::default() },
            ] {
                let refusal = NatsOptions { tls, ..options() }.check().unwrap_err().to_string();
                assert!(refusal.starts_with(&path.display().to_string()), "{refusal}");
            }
            let file = NatsOptions { credentials: Credentials::File(path.clone()), ..options() };
            assert!(file.check().unwrap_err().to_string().starts_with(&path.display().to_string()));
        }
        assert_eq!(NatsOptions { credentials: Credentials::Nkey(seed().parse().unwrap()), ..options() }.check(), Ok(()));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
