use chatsphere_net::websocket::CloseCode;
use chatsphere_protocol::close;

use crate::observability::Counts;

static CLOSES: Counts = Counts::new("chatsphere_closes_total", None, "code");

/// Counts how a connection ended. Returns the label of its close code: `none` if there was no close frame.
pub(super) fn count(code: Option<CloseCode>) -> &'static str {
    let label = code.map_or("none", |code| close::label(code.get()));
    CLOSES.count(label);
    label
}
