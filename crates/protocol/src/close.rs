//! Why a WebSocket was closed. 4000 to 4499: connect again; 4500 to 4999: don't, mend the cause first.

/// The server stops or restarts: connect again after the delay named in the `closing` frame and in the reason.
pub const GOING_AWAY: u16 = 1001;
/// A frame broke RFC 6455.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A binary message came; this protocol speaks JSON text.
pub const BINARY: u16 = 1003;
/// A text was not UTF-8.
pub const NOT_UTF8: u16 = 1007;
/// A message that had begun did not end in time.
pub const TOO_SLOW: u16 = 1008;
/// A message was larger than `limits.frameBytes`.
pub const TOO_BIG: u16 = 1009;
/// The server could not judge the token at the moment: connect again.
pub const TRY_AGAIN_LATER: u16 = 1013;
/// The token expired: connect again with a new one.
pub const TOKEN_EXPIRED: u16 = 4001;
/// The connection did not take its frames fast enough: connect again and resume with `since`.
pub const SLOW_CONSUMER: u16 = 4008;
/// Far too many frames that come to nothing, or too many connections: connect again later, and more slowly.
pub const FLOOD: u16 = 4029;
/// The token is revoked or not valid here.
pub const TOKEN_INVALID: u16 = 4501;
/// No valid `auth` came in time.
pub const NOT_AUTHENTICATED: u16 = 4502;
/// The page's origin is not allowed.
pub const ORIGIN: u16 = 4503;

/// Whether a client should connect again after this code. Codes outside the application's range are connection faults.
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 4500..=4999)
}
