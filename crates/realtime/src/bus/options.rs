//! The configuration of NATS: server addresses, credentials and TLS files, parsed and checked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Timeout for each step of connecting.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often an idle connection is pinged; two missing answers end it.
const PING: Duration = Duration::from_secs(10);
/// Maximum number of messages waiting to be read per subscription, and to be written per connection. A message has at most the
/// server's `max_payload`, 1 MiB by default.
const MAX_TO_READ: usize = 64;
const MAX_TO_WRITE: usize = 64;

/// The error for an unreadable address. It must not repeat the address: a password with `@`, `/` or a comma ends the authority
/// early, and the rest of the password would be shown as a host.
const ENCODE: &str = "it is not the address of a NATS server, such as nats://user:password@host:4222; special characters \
                      of a user, password or token have to be percent-encoded (@ is %40, / is %2F, ? is %3F, # is %23, \
                      a comma is %2C, % is %25, and in a user or token : is %3A)";

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

/// The addresses of NATS servers. They may contain passwords; `Debug` shows only hosts and ports.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl(Vec<Server>);

/// The address of one server.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    tls: bool,
    /// `host:port`, or only the host.
    pub(super) place: String,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    User { name: String, password: String },
    Token(String),
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

/// The seed of an nkey, as `nk -gen user` writes it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct NkeySeed(String);

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
pub struct InvalidNats(String);

impl FromStr for NatsUrl {
    type Err = InvalidNats;

    /// Parses comma-separated addresses: `nats://host:4222`, `tls://…`, with `user:password@` or `token@` before the host.
    fn from_str(text: &str) -> Result<Self, InvalidNats> {
        if !text.contains("://") {
            return Err(InvalidNats(ENCODE.to_owned()));
        }
        let mut servers =
            text.split(',').map(|server| Server::parse(server.trim())).collect::<Result<Vec<Server>, InvalidNats>>()?;
        // As in other NATS clients, a server without a login uses the login of another: the servers of a cluster know the same
        // users.
        if let Some(login) = servers.iter().find_map(|server| server.login.clone()) {
            servers.iter_mut().for_each(|server| server.login = Some(server.login.take().unwrap_or_else(|| login.clone())));
        }
        Ok(Self(servers))
    }
}

impl NatsUrl {
    /// Whether an address contains a user or a token.
    pub fn has_login(&self) -> bool {
        self.0.iter().any(|server| server.login.is_some())
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.0
    }

    fn places(&self) -> String {
        self.0.iter().map(|server| &*server.place).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsUrl({})", self.places())
    }
}

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

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "Url",
            Self::Nkey(_) => "Nkey(hidden)",
            Self::File(_) => "File",
        })
    }
}

impl Server {
    fn parse(text: &str) -> Result<Self, InvalidNats> {
        let invalid = |what: &str| Err(InvalidNats(what.to_owned()));
        let (tls, rest) = match text.split_once("://") {
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            Some(_) => return invalid("only the schemes nats:// and tls:// are supported"),
            None if text.contains('@') => return invalid(ENCODE),
            None => (false, text),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.len() > 1 || path.contains(['?', '#']) {
            return invalid(ENCODE);
        }
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(Login::parse(login).ok_or_else(|| InvalidNats(ENCODE.to_owned()))?), place),
            None => (None, authority),
        };
        let server = Self { tls, place: place.to_owned(), login };
        match server.address() {
            Ok(address) if !address.host().is_empty() && !place.contains(char::is_whitespace) => Ok(server),
            _ => invalid(ENCODE),
        }
    }

    fn address(&self) -> io::Result<ServerAddr> {
        format!("{}://{}", if self.tls { "tls" } else { "nats" }, self.place).parse()
    }
}

impl Login {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            _ if text.contains('@') => None,
            Some((name, password)) => Some(Self::User { name: percent_decode(name)?, password: percent_decode(password)? }),
            None if text.is_empty() => None,
            None => Some(Self::Token(percent_decode(text)?)),
        }
    }
}

/// Decodes percent-encoding (RFC 3986, section 2.1). `None` for an incomplete escape, or if the result is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = after;
            continue;
        }
        let (hex, after) = after.split_at_checked(2)?;
        let hex = std::str::from_utf8(hex).ok().filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
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

    /// The library's options for connecting to one server. The library's own reconnection is off: this node reconnects itself
    /// and reports failures.
    pub(super) async fn connect_to(&self, server: &Server) -> io::Result<(ServerAddr, ConnectOptions)> {
        let mut options = ConnectOptions::new()
            .name("chatsphere")
            .max_reconnects(1)
            .ignore_discovered_servers()
            .connection_timeout(PATIENCE)
            .ping_interval(PING)
            .subscription_capacity(MAX_TO_READ)
            .client_capacity(MAX_TO_WRITE);
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
        let tls = server.tls || self.tls != NatsTls::default();
        Ok((server.address()?, options.require_tls(tls)))
    }
}

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

    fn user(name: &str, password: &str) -> Option<Login> {
        Some(Login::User { name: name.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn addresses_are_read() {
        for (text, tls, place, login) in [
            ("nats://127.0.0.1:4222", false, "127.0.0.1:4222", None),
            ("tls://nats.example.com", true, "nats.example.com", None),
            ("nats://[::1]:4222/", false, "[::1]:4222", None),
            ("nats://ada:secret@bus:4222", false, "bus:4222", user("ada", "secret")),
            ("nats://ada:a:b@bus", false, "bus", user("ada", "a:b")),
            ("nats://ada:@bus", false, "bus", user("ada", "")),
            ("nats://a%40b:p%3A%2F%3F%23%2C%25%20%C3%BC@bus", false, "bus", user("a@b", "p:/?#,% ü")),
            ("nats://t0ken%21@bus", false, "bus", Some(Login::Token("t0ken!".to_owned()))),
            ("nats://a!$&'()*+;=b:c\"d\\e@bus", false, "bus", user("a!$&'()*+;=b", "c\"d\\e")),
        ] {
            let NatsUrl(servers) = text.parse().unwrap();
            assert!(servers == [Server { tls, place: place.to_owned(), login }], "{text}");
        }
    }

    #[test]
    fn servers_without_a_login_have_that_of_the_others() {
        let url: NatsUrl = "nats://a:1, nats://ada:x@b:2,c:3,tls://bob:y@d:4".parse().unwrap();
        let logins: Vec<_> = url.servers().iter().map(|server| server.login.clone()).collect();
        assert!(logins == [user("ada", "x"), user("ada", "x"), user("ada", "x"), user("bob", "y")]);
        assert_eq!(format!("{url:?}"), "NatsUrl(a:1, b:2, c:3, d:4)");
        assert!(url.has_login() && !"nats://a,b".parse::<NatsUrl>().unwrap().has_login());
    }

    #[test]
    fn what_a_password_would_be_cut_by_is_refused_and_not_repeated() {
        for password in ["s3c/ret", "s3c?ret", "s3c#ret", "s3c@ret", "1,s3cret", "1/s3cret", "s3c%ret", "%ffs3cret", "s3cret%2"]
        {
            let refusal = format!("nats://ada:{password}@bus:4222").parse::<NatsUrl>().unwrap_err().to_string();
            assert!(refusal.contains("percent-encoded"), "{password}: {refusal}");
            for part in ["s3c", "ret", "ada"] {
                assert!(!refusal.contains(part), "{password}: {refusal}");
            }
        }
        for bad in [
            "",
            "nats://",
            "nats://@bus",
            "nats://bus:port",
            "nats://bus:99999",
            "nats://a b",
            "nats://bus/x",
            "nats://a,",
            "bus:4222",
            "ws://bus",
            "http://bus",
        ] {
            assert!(bad.parse::<NatsUrl>().is_err(), "{bad}");
        }
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
