use chatsphere_net::websocket::CloseCode;
use chatsphere_protocol::close;

use crate::observability::Counts;

static CLOSES: Counts = Counts::new("chatsphere_closes_total", None, "code");

/// Counts a closed connection by close code. Returns the label of the code: `none` without a close frame.
pub(super) fn count(code: Option<CloseCode>) -> &'static str {
    let label = code.map_or("none", |code| close::label(code.get()));
    CLOSES.count(label);
    label
}
