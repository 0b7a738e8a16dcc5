//! Correlates answers with a connection's frames, and answers unreadable frames.

use std::borrow::Cow;

use chatsphere_core::Limits;
use chatsphere_protocol::frames::{ClientFrame, ErrorFrame, FrameError, ServerFrame};
use chatsphere_realtime::answer::count_error;
pub(super) use chatsphere_realtime::answer::{Correlation, early_error, error};

/// Maximum length of a `clientMessageId` that an answer repeats, in bytes. More than the limit of valid ids: a client without
/// an answer would retry for ever.
const LONGEST_REPEATED: usize = 256;

/// The fields of this frame that its answer repeats, except `ref`. Values over their limits are omitted.
pub(super) fn about(frame: &ClientFrame<'_>, limits: &Limits) -> Correlation {
    let short = |text: &str| (text.len() <= limits.client_message_id_bytes).then(|| text.to_owned());
    let client_message_id = frame.client_message_id().and_then(repeated);
    Correlation { reference: None, room_id: frame.room_id().and_then(short), client_message_id }
}

/// The error frame of an unreadable frame. It repeats the frame's ids only within the limits.
pub(super) fn unreadable(error: FrameError, longest: usize) -> ServerFrame<'static> {
    count_error(error.kind.code());
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
