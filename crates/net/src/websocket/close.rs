//! Close codes (RFC 6455 section 7.4).

use std::fmt;

/// A close code that may stand in a close frame (RFC 6455 section 7.4).
///
/// Codes that only exist inside an API (1005, 1006, 1015) or that nobody has defined can't be made into a `CloseCode`,
/// so neither a client's frame nor a slip of ours puts one on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection has been fulfilled (section 7.4.1).
    pub const NORMAL: Self = Self(1000);
    /// The server is going down, or a page was left (section 7.4.1).
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke RFC 6455 (section 7.4.1).
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that this endpoint does not take, here binary messages (section 7.4.1).
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// A text that is not UTF-8 (section 7.4.1).
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer broke a rule for which there is no code of its own (section 7.4.1).
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message larger than this endpoint takes (section 7.4.1).
    pub const TOO_BIG: Self = Self(1009);
    /// Something unexpected kept the server from going on (section 7.4.1).
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts: connect again after a random delay (IANA registry of section 11.7).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded: connect again later (IANA registry of section 11.7).
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The token has expired: connect again with a new one (private use, section 7.4.2).
    pub const TOKEN_EXPIRED: Self = Self(4001);
    /// The client read too slowly: connect again and resume (private use, section 7.4.2).
    pub const SLOW_CONSUMER: Self = Self(4008);
    /// The client sent too much: connect again later (private use, section 7.4.2).
    pub const FLOOD: Self = Self(4029);
    /// The token is revoked or no good: don't connect again with it (private use, section 7.4.2).
    pub const TOKEN_INVALID: Self = Self(4501);
    /// No token came in time (private use, section 7.4.2).
    pub const NOT_AUTHENTICATED: Self = Self(4502);
    /// The page's origin is not allowed (private use, section 7.4.2).
    pub const ORIGIN_REFUSED: Self = Self(4503);

    /// The code, if it may stand in a close frame.
    pub const fn new(code: u16) -> Option<Self> {
        if Self::is_valid_on_wire(code) { Some(Self(code)) } else { None }
    }

    /// Whether a close frame may carry this number (RFC 6455 section 7.4 and the IANA registry that it founds).
    ///
    /// 1004 has no meaning, 1005, 1006 and 1015 must never be sent, 1016 to 2999 are kept for later versions.
    pub const fn is_valid_on_wire(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_of_section_7_4_are_valid() {
        for (range, valid) in [
            (0..=999, false),
            (1000..=1003, true),
            (1004..=1006, false),
            (1007..=1014, true),
            (1015..=2999, false),
            (3000..=4999, true),
            (5000..=u16::MAX, false),
        ] {
            for code in range {
                assert_eq!(CloseCode::is_valid_on_wire(code), valid, "{code}");
                assert_eq!(CloseCode::new(code).map(CloseCode::get), valid.then_some(code));
            }
        }
    }

    #[test]
    fn every_named_code_is_valid() {
        for code in [
            CloseCode::NORMAL,
            CloseCode::GOING_AWAY,
            CloseCode::PROTOCOL_ERROR,
            CloseCode::UNSUPPORTED_DATA,
            CloseCode::INVALID_PAYLOAD,
            CloseCode::POLICY_VIOLATION,
            CloseCode::TOO_BIG,
            CloseCode::INTERNAL_ERROR,
            CloseCode::SERVICE_RESTART,
            CloseCode::TRY_AGAIN_LATER,
            CloseCode::TOKEN_EXPIRED,
            CloseCode::SLOW_CONSUMER,
            CloseCode::FLOOD,
            CloseCode::TOKEN_INVALID,
            CloseCode::NOT_AUTHENTICATED,
            CloseCode::ORIGIN_REFUSED,
        ] {
            assert_eq!(CloseCode::new(code.get()), Some(code));
        }
    }
}
