//! How connections end, by their close codes.

use chatsphere_net::websocket::CloseCode;

use crate::observability::Counts;

static CLOSES: Counts = Counts::new("chatsphere_closes_total", None, "code");

/// Counts an end, and answers the word by which it was: `none` without a close frame, `other` for codes of the client's own, since
/// it might send any of thousands.
pub(super) fn count(code: Option<CloseCode>) -> &'static str {
    let word = code.map_or("none", word);
    CLOSES.count(word);
    word
}

fn word(code: CloseCode) -> &'static str {
    match code {
        CloseCode::NORMAL => "1000",
        CloseCode::GOING_AWAY => "1001",
        CloseCode::PROTOCOL_ERROR => "1002",
        CloseCode::UNSUPPORTED_DATA => "1003",
        CloseCode::INVALID_PAYLOAD => "1007",
        CloseCode::POLICY_VIOLATION => "1008",
        CloseCode::TOO_BIG => "1009",
        CloseCode::INTERNAL_ERROR => "1011",
        CloseCode::SERVICE_RESTART => "1012",
        CloseCode::TRY_AGAIN_LATER => "1013",
        CloseCode::TOKEN_EXPIRED => "4001",
        CloseCode::SLOW_CONSUMER => "4008",
        CloseCode::FLOOD => "4029",
        CloseCode::TOKEN_INVALID => "4501",
        CloseCode::NOT_AUTHENTICATED => "4502",
        CloseCode::ORIGIN_REFUSED => "4503",
        _ => "other",
    }
}
