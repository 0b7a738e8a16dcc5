//! Close codes (RFC 6455 section 7.4).

use std::fmt;

/// A close code that may be sent in a close frame (RFC 6455 section 7.4).
///
/// Codes that exist only in APIs (1005, 1006, 1015) and undefined codes have no `CloseCode`, so they can neither be accepted
/// nor sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection has been fulfilled (section 7.4.1).
    pub const NORMAL: Self = Self(1000);
    /// The server is shutting down, or the page was left (section 7.4.1).
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer violated RFC 6455 (section 7.4.1).
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A data type that this endpoint does not accept, here binary messages (section 7.4.1).
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// A text that is not UTF-8 (section 7.4.1).
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer violated a rule without a code of its own (section 7.4.1).
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message larger than this endpoint accepts (section 7.4.1).
    pub const TOO_BIG: Self = Self(1009);
    /// An unexpected error in the server (section 7.4.1).
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts: reconnect after a random delay (IANA registry of section 11.7).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded: reconnect later (IANA registry of section 11.7).
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The token has expired: reconnect with a new one (private use, section 7.4.2).
    pub const TOKEN_EXPIRED: Self = Self(4001);
    /// The client read too slowly: reconnect and resume (private use, section 7.4.2).
    pub const SLOW_CONSUMER: Self = Self(4008);
    /// The client sent too much: reconnect later (private use, section 7.4.2).
    pub const FLOOD: Self = Self(4029);
    /// The token is revoked or invalid: do not reconnect with it (private use, section 7.4.2).
    pub const TOKEN_INVALID: Self = Self(4501);
    /// No token arrived in time (private use, section 7.4.2).
    pub const NOT_AUTHENTICATED: Self = Self(4502);
    /// The page's origin is not allowed (private use, section 7.4.2).
    pub const ORIGIN_REFUSED: Self = Self(4503);

    /// The code, if it is valid in a close frame.
    pub const fn new(code: u16) -> Option<Self> {
        if Self::is_valid_on_wire(code) { Some(Self(code)) } else { None }
    }

    /// Whether a close frame may carry this number (RFC 6455 section 7.4 and the IANA registry).
    ///
    /// 1004 is undefined, 1005, 1006 and 1015 must never be sent, and 1016 to 2999 are reserved.
    pub const fn is_valid_on_wire(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The numeric code.
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
