//! The close codes of a WebSocket. After 4000 to 4499 a client should reconnect. After 4500 to 4999 reconnecting does not help
//! until the cause is fixed.
//!
//! The server sends only these codes. A test compares this list with `docs/websocket.md`.

macro_rules! close_codes {
    ($($(#[$attribute:meta])* $name:ident = $code:literal,)*) => {
        $($(#[$attribute])* pub const $name: u16 = $code;)*

        /// All codes, each with its label in metrics and logs.
        pub const ALL: &[(u16, &str)] = &[$(($code, stringify!($code)),)*];
    };
}

close_codes! {
    /// The client closed the connection, or the connection ended normally.
    NORMAL = 1000,
    /// The server stops or restarts. Reconnect after the delay that the `closing` frame and the close reason give.
    GOING_AWAY = 1001,
    /// A frame violated RFC 6455.
    PROTOCOL_ERROR = 1002,
    /// The client sent a binary message. This protocol uses JSON text only.
    BINARY = 1003,
    /// A text message was not valid UTF-8.
    NOT_UTF8 = 1007,
    /// A fragmented message was not completed in time.
    TOO_SLOW = 1008,
    /// A message was larger than `limits.frameBytes`.
    TOO_BIG = 1009,
    /// The server could not check the token at the time. Reconnect.
    TRY_AGAIN_LATER = 1013,
    /// The token expired. Reconnect with a new one.
    TOKEN_EXPIRED = 4001,
    /// The client read its frames too slowly. Reconnect, and resume with `since`.
    SLOW_CONSUMER = 4008,
    /// The client sent far too many frames without effect, or its user has too many connections. Reconnect later, and send more
    /// slowly.
    FLOOD = 4029,
    /// The token is revoked, or not valid on this server.
    TOKEN_INVALID = 4501,
    /// The client did not send a valid `auth` in time.
    NOT_AUTHENTICATED = 4502,
    /// The page's origin is not allowed.
    ORIGIN = 4503,
}

/// Returns a code's label in metrics and logs. A code that is not listed here has the label `other`, because a client may send
/// any of thousands and metrics need few labels.
pub fn label(code: u16) -> &'static str {
    ALL.iter().find(|(listed, _)| *listed == code).map_or("other", |(_, label)| label)
}

/// Whether a client should reconnect after this code. Codes below 4000 are faults of the connection, after which it should.
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 4500..=4999)
}
