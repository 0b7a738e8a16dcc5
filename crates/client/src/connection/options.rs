use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How a connection behaves. [`ConnectOptions::default`] suits most applications.
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) events: usize,
    pub(crate) unacknowledged: usize,
    pub(crate) ordered: bool,
    pub(crate) largest_frame: usize,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) tokens: Option<Arc<dyn TokenProvider>>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            events: 256,
            unacknowledged: 256,
            ordered: true,
            // A page holds a hundred messages of 32 KiB, each byte of which JSON may write as six.
            largest_frame: 32 * 1024 * 1024,
            backoff: (Duration::from_millis(250), Duration::from_secs(15)),
            tokens: None,
        }
    }
}

impl ConnectOptions {
    /// How many updates may wait for the application before the socket is no longer read.
    #[must_use]
    pub fn events(mut self, most: usize) -> Self {
        self.events = most.max(1);
        self
    }

    /// How many messages may wait for their acknowledgement before `send` waits too.
    #[must_use]
    pub fn unacknowledged(mut self, most: usize) -> Self {
        self.unacknowledged = most.max(1);
        self
    }

    /// Sends messages of a room without waiting for the answer to the one before. That is faster where many go into one room,
    /// but what the server refuses for a time is then stored behind what came after it.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// The largest frame that is accepted from the server, in bytes.
    #[must_use]
    pub fn largest_frame(mut self, bytes: usize) -> Self {
        self.largest_frame = bytes;
        self
    }

    /// How long to wait before connecting again: a random part of a bound that begins at `base` and doubles up to `cap`.
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = (base, cap);
        self
    }

    /// Asks `provider` for a new token when the server no longer accepts the present one.
    #[must_use]
    pub fn token_provider(mut self, provider: impl TokenProvider + 'static) -> Self {
        self.tokens = Some(Arc::new(provider));
        self
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("events", &self.events)
            .field("unacknowledged", &self.unacknowledged)
            .field("ordered", &self.ordered)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// Why no new token is to be had.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// A new token, soon.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Gives new tokens, such as by asking the application's own backend. Any function that returns a future of one will do.
pub trait TokenProvider: Send + Sync {
    /// A new token.
    fn token(&self) -> TokenFuture<'_>;
}

impl<F, Fut> TokenProvider for F
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self())
    }
}
