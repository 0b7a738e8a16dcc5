//! Why a WebSocket was closed. 4000 to 4499: connect again; 4500 to 4999: don't, mend the cause first.
//!
//! This is the one list of the codes. The server sends no others, and `docs/websocket.md` is compared with it.

macro_rules! close_codes {
    ($($(#[$attribute:meta])* $name:ident = $code:literal,)*) => {
        $($(#[$attribute])* pub const $name: u16 = $code;)*

        /// All codes, each with its label in metrics and logs.
        pub const ALL: &[(u16, &str)] = &[$(($code, stringify!($code)),)*];
    };
}

close_codes! {
    /// The client has closed the connection, or both sides are done.
    NORMAL = 1000,
    /// The server stops or restarts: connect again after the delay named in the `closing` frame and in the reason.
    GOING_AWAY = 1001,
    /// A frame broke RFC 6455.
    PROTOCOL_ERROR = 1002,
    /// A binary message came; this protocol speaks JSON text.
    BINARY = 1003,
    /// A text was not UTF-8.
    NOT_UTF8 = 1007,
    /// A message that had begun did not end in time.
    TOO_SLOW = 1008,
    /// A message was larger than `limits.frameBytes`.
    TOO_BIG = 1009,
    /// The server could not judge the token at the moment: connect again.
    TRY_AGAIN_LATER = 1013,
    /// The token expired: connect again with a new one.
    TOKEN_EXPIRED = 4001,
    /// The connection did not take its frames fast enough: connect again and resume with `since`.
    SLOW_CONSUMER = 4008,
    /// Far too many frames that come to nothing, or too many connections: connect again later, and more slowly.
    FLOOD = 4029,
    /// The token is revoked or not valid here.
    TOKEN_INVALID = 4501,
    /// No valid `auth` came in time.
    NOT_AUTHENTICATED = 4502,
    /// The page's origin is not allowed.
    ORIGIN = 4503,
}

/// A code's label in metrics and logs: `other` for a code that is not listed here, since a client may send any of thousands.
pub fn label(code: u16) -> &'static str {
    ALL.iter().find(|(listed, _)| *listed == code).map_or("other", |(_, label)| label)
}

/// Whether a client should connect again after this code. Codes outside the application's range are connection faults.
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 4500..=4999)
}
