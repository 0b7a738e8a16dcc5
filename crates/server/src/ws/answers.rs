//! What the answers to a connection's frames repeat, and how frames are answered that can't be read.

use std::borrow::Cow;

use chatsphere_core::Limits;
use chatsphere_protocol::frames::{ClientFrame, ErrorFrame, FrameError, ServerFrame};
use chatsphere_realtime::answer::count;
pub(super) use chatsphere_realtime::answer::{Correlation, error, refusal};

/// The longest `clientMessageId` that an answer repeats. More than is allowed: a client that hears nothing of a message sends
/// it for ever.
const LONGEST_REPEATED: usize = 256;

/// What an answer to this frame repeats of it, but for its `ref`. What is longer than it may be is not repeated.
pub(super) fn about(frame: &ClientFrame<'_>, limits: &Limits) -> Correlation {
    let short = |text: &str| (text.len() <= limits.client_message_id_bytes).then(|| text.to_owned());
    let client_message_id = frame.client_message_id().and_then(repeated);
    Correlation { reference: None, room_id: frame.room_id().and_then(short), client_message_id }
}

/// A frame that could not be read. What it named is repeated only as far as the limits let it be named.
pub(super) fn unreadable(error: FrameError, longest: usize) -> ServerFrame<'static> {
    count(error.kind.code());
    let short = |text: Option<String>| text.filter(|text| text.len() <= longest).map(Cow::Owned);
    ServerFrame::Error(ErrorFrame {
        code: error.kind.code().into(),
        message: error.message.into(),
        room_id: short(error.room_id),
        client_message_id: error.client_message_id.as_deref().and_then(repeated).map(Cow::Owned),
        field: error.field.map(Cow::Borrowed),
        retryable: false,
        retry_after_ms: None,
        reference: short(error.reference),
    })
}

fn repeated(client_message_id: &str) -> Option<String> {
    (client_message_id.len() <= LONGEST_REPEATED).then(|| client_message_id.to_owned())
}
