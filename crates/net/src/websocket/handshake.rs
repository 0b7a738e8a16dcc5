//! The server side of the opening handshake (RFC 6455 section 4.2).

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

/// The only protocol version (section 4.1).
pub const VERSION: &str = "13";

/// The subprotocol of version 1 of the chat API.
pub const SUBPROTOCOL: &str = "chatsphere.v1";

/// The prefix of a token in the list of subprotocols, which is the only header that a browser can set.
const BEARER: &str = "bearer.";

/// Appended to the key before hashing (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The decoder of keys. A key is 16 random bytes, and 128 is not a multiple of 6: some clients choose random characters and
/// leave trailing bits set. Those bits carry no data and are ignored.
const KEY: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The parts of a request that an upgrade depends on (section 4.2.1).
///
/// Repeated headers are joined with commas. A second `Sec-WebSocket-Key` or `Sec-WebSocket-Version` is therefore invalid, as
/// required.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpgradeRequest<'a> {
    /// The request's method.
    pub method: &'a str,
    /// Whether the request used HTTP/1.0, which has no upgrades (RFC 9110, section 7.8).
    pub http_1_0: bool,
    /// `Connection`
    pub connection: Option<&'a str>,
    /// `Upgrade`
    pub upgrade: Option<&'a str>,
    /// `Sec-WebSocket-Version`
    pub version: Option<&'a str>,
    /// `Sec-WebSocket-Key`
    pub key: Option<&'a str>,
}

impl UpgradeRequest<'_> {
    /// The value of `Sec-WebSocket-Accept` to answer with (section 4.2.2).
    ///
    /// # Errors
    /// If the request cannot become a WebSocket; the error provides the HTTP status and headers.
    pub fn accept(&self) -> Result<String, HandshakeError> {
        if self.method != "GET" {
            return Err(HandshakeError::Method);
        }
        if self.http_1_0 {
            return Err(HandshakeError::Http10);
        }
        if !has_token(self.upgrade, "websocket") {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if !has_token(self.connection, "upgrade") {
            return Err(HandshakeError::Connection);
        }
        if self.version.map(trim) != Some(VERSION) {
            return Err(HandshakeError::Version);
        }
        let key = self.key.map(trim).ok_or(HandshakeError::Key)?;
        let mut nonce = [0; 18];
        match KEY.decode_slice(key, &mut nonce) {
            Ok(16) => Ok(accept_key(key.as_bytes())),
            _ => Err(HandshakeError::Key),
        }
    }
}

/// Why a request cannot become a WebSocket (section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HandshakeError {
    /// The method is not GET.
    #[error("a WebSocket is opened by GET")]
    Method,
    /// The request used HTTP/1.0, the default of some proxies.
    #[error(
        "a WebSocket needs HTTP/1.1 and this request came by HTTP/1.0, probably from a proxy: nginx needs \
         `proxy_http_version 1.1;`, `proxy_set_header Upgrade $http_upgrade;` and `proxy_set_header Connection \"upgrade\";`"
    )]
    Http10,
    /// `Upgrade` is missing or does not name WebSocket, often because a proxy does not forward it.
    #[error(
        "this is a WebSocket endpoint: `Upgrade: websocket` is missing; a proxy in between must pass it on, nginx by \
         `proxy_set_header Upgrade $http_upgrade;` and `proxy_set_header Connection \"upgrade\";`"
    )]
    NotAnUpgrade,
    /// `Connection` does not name `Upgrade`, often because a proxy does not forward it.
    #[error(
        "`Connection: Upgrade` is missing; a proxy in between must pass it on, nginx by \
         `proxy_set_header Connection \"upgrade\";`"
    )]
    Connection,
    /// `Sec-WebSocket-Version` is missing or not 13 (section 4.4).
    #[error("`Sec-WebSocket-Version` must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes in base64.
    #[error("`Sec-WebSocket-Key` must be 16 bytes in base64")]
    Key,
    /// `bearer.<token>` is offered without `chatsphere.v1`. A browser fails a connection unless one of its offers is selected
    /// (section 4.1), and the server never sends the token back.
    #[error(
        "offer the subprotocol `chatsphere.v1` beside `bearer.<token>`: a browser needs one of its offers answered, and the \
         token is not sent back"
    )]
    BearerAlone,
}

impl HandshakeError {
    /// The HTTP status of the rejection (sections 4.2.1 and 4.4, RFC 9110 sections 15.5.6 and 15.5.22).
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Http10 | Self::NotAnUpgrade | Self::Version => 426,
            Self::Connection | Self::Key | Self::BearerAlone => 400,
        }
    }

    /// The headers that this status requires, in lower case.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("allow", "GET")],
            Self::Http10 | Self::NotAnUpgrade | Self::Version => {
                &[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", VERSION)]
            }
            Self::Connection | Self::Key | Self::BearerAlone => &[],
        }
    }
}

/// The subprotocols that a client offers in `Sec-WebSocket-Protocol` (section 4.1, item 10 of the client's requirements).
///
/// Its `Debug` does not show the token.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Subprotocols<'a> {
    /// Whether `chatsphere.v1` is among them.
    pub chatsphere_v1: bool,
    /// The token of the first `bearer.<token>`.
    pub bearer: Option<&'a str>,
}

impl<'a> Subprotocols<'a> {
    /// Parses the values of all `Sec-WebSocket-Protocol` headers; the names are case-sensitive (section 11.5).
    pub fn parse(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut offered = Self::default();
        for name in values.into_iter().flat_map(|value| value.split(',')).map(trim) {
            if name == SUBPROTOCOL {
                offered.chatsphere_v1 = true;
            } else if let Some(token) = name.strip_prefix(BEARER).filter(|token| !token.is_empty()) {
                offered.bearer.get_or_insert(token);
            }
        }
        offered
    }

    /// Whether a token is offered without a subprotocol that the server could select.
    pub const fn bears_unanswerably(&self) -> bool {
        self.bearer.is_some() && !self.chatsphere_v1
    }

    /// The selected subprotocol, never the one that contains the token (section 4.2.2).
    pub const fn selected(&self) -> Option<&'static str> {
        if self.chatsphere_v1 { Some(SUBPROTOCOL) } else { None }
    }
}

impl fmt::Debug for Subprotocols<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subprotocols")
            .field("chatsphere_v1", &self.chatsphere_v1)
            .field("bearer", &self.bearer.map(|_| "…"))
            .finish()
    }
}

/// Trims the optional white space around list members (RFC 9110 section 5.6.3).
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

fn has_token(header: Option<&str>, token: &str) -> bool {
    header.is_some_and(|value| value.split(',').any(|member| trim(member).eq_ignore_ascii_case(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: UpgradeRequest<'_> = UpgradeRequest {
        method: "GET",
        http_1_0: false,
        connection: Some("Upgrade"),
        upgrade: Some("websocket"),
        version: Some("13"),
        key: Some("dGhlIHNhbXBsZSBub25jZQ=="),
    };

    #[test]
    fn the_example_of_section_1_3() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(GOOD.accept().as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn lists_and_letter_case_are_understood() {
        for request in [
            UpgradeRequest { connection: Some("keep-alive, upgrade"), ..GOOD },
            UpgradeRequest { connection: Some("keep-alive ,\tUPGRADE"), ..GOOD },
            UpgradeRequest { upgrade: Some("h2c, WebSocket"), ..GOOD },
            UpgradeRequest { version: Some(" 13 "), ..GOOD },
            UpgradeRequest { key: Some(" dGhlIHNhbXBsZSBub25jZQ== "), ..GOOD },
        ] {
            assert_eq!(request.accept().as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{request:?}");
        }
        // A key of random characters: the last one has bits beyond the sixteenth byte.
        assert!(UpgradeRequest { key: Some("AAAAAAAAAAAAAAAAAAAAAB=="), ..GOOD }.accept().is_ok());
    }

    #[test]
    fn each_refusal_has_its_status() {
        use HandshakeError as E;
        for (request, error, status) in [
            (UpgradeRequest { method: "POST", ..GOOD }, E::Method, 405),
            (UpgradeRequest { method: "get", ..GOOD }, E::Method, 405),
            (UpgradeRequest { method: "GET", ..Default::default() }, E::NotAnUpgrade, 426),
            (UpgradeRequest { upgrade: Some("h2c"), ..GOOD }, E::NotAnUpgrade, 426),
            (UpgradeRequest { http_1_0: true, ..GOOD }, E::Http10, 426),
            (UpgradeRequest { http_1_0: true, upgrade: None, ..GOOD }, E::Http10, 426),
            (UpgradeRequest { connection: None, ..GOOD }, E::Connection, 400),
            (UpgradeRequest { connection: Some("keep-alive"), ..GOOD }, E::Connection, 400),
            (UpgradeRequest { connection: Some("upgraded"), ..GOOD }, E::Connection, 400),
            (UpgradeRequest { version: None, ..GOOD }, E::Version, 426),
            (UpgradeRequest { version: Some("8"), ..GOOD }, E::Version, 426),
            (UpgradeRequest { version: Some("13, 13"), ..GOOD }, E::Version, 426),
            (UpgradeRequest { key: None, ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some(""), ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some("c2hvcnQ="), ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some("dGhlIHNhbXBsZSBub25jZQ"), ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some("dGhlIHNhbXBsZSBub25jZTE="), ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some("dGhlIHNhbXBsZSBub25jZTEy"), ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some("not base64 at all!!!!!=="), ..GOOD }, E::Key, 400),
            (UpgradeRequest { key: Some("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="), ..GOOD }, E::Key, 400),
        ] {
            let refused = request.accept().unwrap_err();
            assert_eq!((refused, refused.status()), (error, status), "{request:?}");
        }
        assert!(E::Version.headers().contains(&("sec-websocket-version", "13")));
        assert_eq!(E::Method.headers(), [("allow", "GET")]);
        assert!(E::Http10.to_string().contains("proxy_http_version 1.1"));
        assert!(E::Http10.headers().contains(&("upgrade", "websocket")));
    }

    #[test]
    fn subprotocols_are_found_wherever_they_stand() {
        for values in [
            &["chatsphere.v1, bearer.a.b-c_d"][..],
            &["bearer.a.b-c_d,chatsphere.v1"],
            &["chatsphere.v1", "other", "bearer.a.b-c_d, bearer.second"],
            &["bearer.,\tbearer.a.b-c_d , , chatsphere.v1"],
        ] {
            let offered = Subprotocols::parse(values.iter().copied());
            assert_eq!(offered, Subprotocols { chatsphere_v1: true, bearer: Some("a.b-c_d") }, "{values:?}");
            assert_eq!(offered.selected(), Some("chatsphere.v1"));
            assert!(!format!("{offered:?}").contains("a.b"));
        }
        let none = Subprotocols::parse(["ChatSphere.v1, bearer., Bearer.x"]);
        assert_eq!(none, Subprotocols::default());
        assert_eq!(none.selected(), None);
    }
}
