use std::fmt;
use std::sync::Arc;

use chatsphere_types::UserId;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::builder::ClientBuilder;
use crate::connection::{ConnectOptions, Connection, Events};
use crate::error::Error;

/// Calls a ChatSphere server with one token. Clones share the token and the connection pool.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// The user as whom a CLIENT token acts.
    acting_as: Option<UserId>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    token: watch::Sender<Token>,
    tls: Option<TlsConnector>,
}

/// A token that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Arc<str>);

impl Token {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token);
        }
        Ok(Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of `Authorization`.
    pub(crate) fn bearer(&self) -> Result<HeaderValue, Error> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Client {
    /// A client for the server at `base_url`, such as `http://127.0.0.1:3001`. Sends no request.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Token`], and [`Error::Tls`] for an `https` address if the system's certificates are
    /// unusable.
    pub fn new(base_url: &str, token: impl Into<String>) -> Result<Self, Error> {
        Self::builder(base_url, token).build()
    }

    /// Begins the configuration of a client, such as of its trusted certificates.
    pub fn builder(base_url: &str, token: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(base_url, token.into())
    }

    pub(crate) fn of(http: reqwest::Client, base: Url, token: Token, tls: Option<TlsConnector>) -> Self {
        Self { inner: Arc::new(Inner { http, base, token: watch::Sender::new(token), tls }), acting_as: None }
    }

    /// The same client, whose REST calls act as this user, with that user's rights and limits. For CLIENT tokens. A call whose
    /// body names another `userId` may be refused. Its connections act as the token's own user.
    #[must_use]
    pub fn acting_as(&self, user: UserId) -> Self {
        Self { acting_as: Some(user), ..self.clone() }
    }

    /// Replaces the token in calls and in this client's open connections, which send it as `auth`.
    ///
    /// # Errors
    /// [`Error::Token`]
    pub fn set_token(&self, token: impl Into<String>) -> Result<(), Error> {
        self.inner.token.send_replace(Token::parse(&token.into())?);
        Ok(())
    }

    /// Opens a connection, which connects and reconnects in the background. Needs a tokio runtime.
    pub fn connect(&self, options: ConnectOptions) -> (Connection, Events) {
        Connection::open(self.clone(), options)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    pub(crate) fn tls(&self) -> Option<&TlsConnector> {
        self.inner.tls.as_ref()
    }

    pub(crate) fn token(&self) -> Token {
        self.inner.token.borrow().clone()
    }

    pub(crate) fn watch_token(&self) -> watch::Receiver<Token> {
        self.inner.token.subscribe()
    }

    pub(crate) fn base(&self) -> &Url {
        &self.inner.base
    }

    /// The URL of WebSocket connections. They belong to the token, whoever the client acts as: their frames name users.
    pub(crate) fn socket_address(&self) -> Result<Url, Error> {
        self.address_of_token("/ws")
    }

    fn address_of_token(&self, path: &str) -> Result<Url, Error> {
        let base = self.base().as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}")).map_err(|_| Error::Address(path.to_owned()))
    }

    /// The URL of a path of the API, with an optional query.
    pub(crate) fn address(&self, path: &str) -> Result<Url, Error> {
        let mut url = self.address_of_token(path)?;
        if let Some(user) = self.acting_as {
            url.query_pairs_mut().append_pair("as", &user.to_string());
        }
        Ok(url)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined_below_a_prefix() {
        for (base, expected) in [
            ("http://h:1", "http://h:1/api/rooms?limit=2"),
            ("http://h:1/", "http://h:1/api/rooms?limit=2"),
            ("https://h/chat/", "https://h/chat/api/rooms?limit=2"),
        ] {
            let client = Client::new(base, "t").unwrap();
            assert_eq!(client.address("/api/rooms?limit=2").unwrap().as_str(), expected);
            let user = UserId::from_bytes([1; 16]);
            let acting = client.acting_as(user).address("/api/rooms?limit=2").unwrap();
            assert_eq!(acting.as_str(), format!("{expected}&as={user}"));
        }
    }

    #[test]
    fn what_is_no_address_or_token_is_refused() {
        for base in ["", "h:1", "ftp://h", "ws://h", "http://h?x=1"] {
            assert!(matches!(Client::new(base, "t"), Err(Error::Address(_))), "{base}");
        }
        for token in ["", " ", "a b", "a\nb", "é"] {
            assert!(matches!(Client::new("http://h", token), Err(Error::Token)), "{token:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let client = Client::new("http://h", "secret").unwrap();
        assert!(!format!("{client:?} {:?}", client.token().bearer()).contains("secret"));
    }
}
