use chatsphere_net::websocket::ProtocolError;
use chatsphere_protocol::close;

use crate::observability::CounterFamily;

static CLOSES: CounterFamily = CounterFamily::new("chatsphere_closes_total", None, "code");

/// Counts a closed connection by close code. Returns the label of the code: `none` without a close frame.
pub(super) fn count(code: Option<u16>) -> &'static str {
    let label = code.map_or("none", close::label);
    CLOSES.increment(label);
    label
}

/// The code after a violation of RFC 6455 (section 7.4.1).
pub(super) fn of_violation(error: ProtocolError) -> u16 {
    match error {
        ProtocolError::TooBig => close::TOO_BIG,
        ProtocolError::InvalidUtf8 => close::NOT_UTF8,
        ProtocolError::ReservedBits
        | ProtocolError::ReservedOpcode
        | ProtocolError::Unmasked
        | ProtocolError::FragmentedControl
        | ProtocolError::LongControl
        | ProtocolError::NonMinimalLength
        | ProtocolError::LengthOverflow
        | ProtocolError::TruncatedCloseCode
        | ProtocolError::InvalidCloseCode
        | ProtocolError::UnexpectedContinuation
        | ProtocolError::InterleavedMessage => close::PROTOCOL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_net::websocket::is_close_code;

    use super::*;

    #[test]
    fn a_close_frame_may_carry_every_code() {
        for (code, _) in close::ALL {
            assert!(is_close_code(*code), "{code}");
        }
    }

    #[test]
    fn each_violation_closes_with_its_code() {
        for (error, code) in [
            (ProtocolError::TooBig, close::TOO_BIG),
            (ProtocolError::InvalidUtf8, close::NOT_UTF8),
            (ProtocolError::Unmasked, close::PROTOCOL_ERROR),
            (ProtocolError::InvalidCloseCode, close::PROTOCOL_ERROR),
        ] {
            assert_eq!(of_violation(error), code, "{error}");
        }
    }
}
