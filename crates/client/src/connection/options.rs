use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The options of a connection. [`ConnectOptions::default`] suits most applications.
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
            // A page has up to a hundred messages of 32 KiB, of which JSON may escape each byte as six.
            largest_frame: 32 * 1024 * 1024,
            backoff: (Duration::from_millis(250), Duration::from_secs(15)),
            tokens: None,
        }
    }
}

impl ConnectOptions {
    /// Maximum number of updates queued for the application; while it is reached, the socket is not read.
    #[must_use]
    pub fn events(mut self, most: usize) -> Self {
        self.events = most.max(1);
        self
    }

    /// Maximum number of unacknowledged messages; while it is reached, `send` waits.
    #[must_use]
    pub fn unacknowledged(mut self, most: usize) -> Self {
        self.unacknowledged = most.max(1);
        self
    }

    /// Sends messages of a room without waiting for the previous acknowledgement. That is faster for many messages in one room,
    /// but a message that is temporarily rejected is then stored after later ones.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Maximum size of a frame from the server, in bytes.
    #[must_use]
    pub fn largest_frame(mut self, bytes: usize) -> Self {
        self.largest_frame = bytes;
        self
    }

    /// The delay before reconnecting: a random part of a bound that starts at `base` and doubles up to `cap`.
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = (base, cap);
        self
    }

    /// Calls `provider` for a new token when the server rejects the current one.
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

/// Why no new token is available.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// The future of a new token.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Provides new tokens, for example from the application's backend. Any function that returns such a future implements it.
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
