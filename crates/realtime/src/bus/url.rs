//! The addresses of NATS servers, and the credentials in them.

use std::fmt;
use std::io;
use std::str::FromStr;

use async_nats::ServerAddr;

use super::options::InvalidNats;

/// The error for an unreadable address. It must not repeat the address: a password with `@`, `/` or a comma ends the authority
/// early, and the rest of the password would be shown as a host.
const INVALID_ADDRESS: &str = "it is not the address of a NATS server, such as nats://user:password@host:4222; special \
    characters of a user, password or token have to be percent-encoded (@ is %40, / is %2F, ? is %3F, # is %23, a comma is \
    %2C, % is %25, and in a user or token : is %3A)";

/// The addresses of NATS servers. They may contain passwords; `Debug` shows only hosts and ports.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl(Vec<Server>);

impl FromStr for NatsUrl {
    type Err = InvalidNats;

    /// Parses comma-separated addresses: `nats://host:4222`, `tls://…`, with `user:password@` or `token@` before the host.
    fn from_str(text: &str) -> Result<Self, InvalidNats> {
        if !text.contains("://") {
            return Err(InvalidNats(INVALID_ADDRESS.to_owned()));
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

    fn host_ports(&self) -> String {
        self.0.iter().map(|server| &*server.host_port).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsUrl({})", self.host_ports())
    }
}

/// The address of one server.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The scheme is `tls://`.
    pub(super) requires_tls: bool,
    /// `host:port`, or only the host.
    pub(super) host_port: String,
    pub(super) login: Option<Login>,
}

impl Server {
    fn parse(text: &str) -> Result<Self, InvalidNats> {
        let invalid = |what: &str| Err(InvalidNats(what.to_owned()));
        let (requires_tls, rest) = match text.split_once("://") {
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            Some(_) => return invalid("only the schemes nats:// and tls:// are supported"),
            None if text.contains('@') => return invalid(INVALID_ADDRESS),
            None => (false, text),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.len() > 1 || path.contains(['?', '#']) {
            return invalid(INVALID_ADDRESS);
        }
        let (login, host_port) = match authority.rsplit_once('@') {
            Some((login, host_port)) => {
                (Some(Login::parse(login).ok_or_else(|| InvalidNats(INVALID_ADDRESS.to_owned()))?), host_port)
            }
            None => (None, authority),
        };
        let server = Self { requires_tls, host_port: host_port.to_owned(), login };
        match server.address() {
            Ok(address) if !address.host().is_empty() && !host_port.contains(char::is_whitespace) => Ok(server),
            _ => invalid(INVALID_ADDRESS),
        }
    }

    pub(super) fn address(&self) -> io::Result<ServerAddr> {
        format!("{}://{}", if self.requires_tls { "tls" } else { "nats" }, self.host_port).parse()
    }
}

/// The credentials in an address.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    User { name: String, password: String },
    Token(String),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Option<Login> {
        Some(Login::User { name: name.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn addresses_are_read() {
        for (text, requires_tls, host_port, login) in [
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
            assert!(servers == [Server { requires_tls, host_port: host_port.to_owned(), login }], "{text}");
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
}
