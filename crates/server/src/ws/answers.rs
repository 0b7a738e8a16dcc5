//! From what an op answered to the frame that tells it.

use std::borrow::Cow;

use chatsphere_core::{Absent, Conflict, Denial, Error, Limits, Message};
use chatsphere_protocol::frames::{Ack, ClientFrame, ErrorFrame, FrameError, ServerFrame};

use crate::observability::Counts;

static ERRORS: Counts = Counts::new("chatsphere_errors_total", Some(("door", "websocket")), "code");
static REFUSED: Counts = Counts::new("chatsphere_authentications_refused_total", Some(("door", "websocket")), "reason");
/// The longest `clientMessageId` that an answer repeats. More than is allowed: a client that hears nothing of a message sends
/// it for ever.
const LONGEST_REPEATED: usize = 256;

/// What an answer repeats of the frame that it answers.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) reference: Option<String>,
    pub(super) room_id: Option<String>,
    pub(super) client_message_id: Option<String>,
}

impl About {
    /// What an answer to this frame repeats of it, but for its `ref`. What is longer than it may be is not repeated.
    pub(super) fn new(frame: &ClientFrame<'_>, limits: &Limits) -> Self {
        let short = |text: &str| (text.len() <= limits.client_message_id_bytes).then(|| text.to_owned());
        let client_message_id = frame.client_message_id().and_then(repeated);
        Self { reference: None, room_id: frame.room_id().and_then(short), client_message_id }
    }

    /// The `ref`, for an answer.
    pub(super) fn reference(&self) -> Option<Cow<'_, str>> {
        self.reference.as_deref().map(Cow::Borrowed)
    }

    /// Whether a message asked for an `ack`.
    pub(super) fn wants_ack(&self) -> bool {
        self.reference.is_some() || self.client_message_id.is_some()
    }
}

pub(super) fn ack<'a>(about: &'a About, message: &Message) -> ServerFrame<'a> {
    ServerFrame::Ack(Ack {
        room_id: message.room_id,
        client_message_id: about.client_message_id.as_deref().map(Cow::Borrowed),
        id: message.id,
        seq: message.seq,
        created_at: message.created_at,
        reference: about.reference(),
    })
}

pub(super) fn error<'a>(about: &'a About, error: &Error) -> ServerFrame<'a> {
    ERRORS.count(error.code());
    if let Error::Token(refusal) = error {
        REFUSED.count(refusal.code());
    }
    let retry_after = match error {
        Error::RateLimited(_, wait) | Error::QuotaExceeded(wait) => Some(*wait),
        Error::Outage(outage) => Some(outage.retry_after()),
        _ => None,
    };
    ServerFrame::Error(ErrorFrame {
        code: error.code().into(),
        message: error.to_string().into(),
        room_id: about.room_id.as_deref().map(Cow::Borrowed),
        client_message_id: about.client_message_id.as_deref().map(Cow::Borrowed),
        field: wrong_field(error).map(Cow::Borrowed),
        retryable: error.is_retryable(),
        retry_after_ms: retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
        reference: about.reference(),
    })
}

/// The field of a frame that an error is about.
const fn wrong_field(error: &Error) -> Option<&'static str> {
    match error {
        Error::Invalid(invalid) => Some(invalid.field),
        Error::Denied(Denial::NotAMember) | Error::Absent(Absent::Room) => Some("roomId"),
        Error::Denied(Denial::NotYourself) | Error::Absent(Absent::User) => Some("userId"),
        Error::Absent(Absent::Parent) => Some("parentId"),
        Error::Conflict(Conflict::ClientMessageIdReused) => Some("clientMessageId"),
        _ => None,
    }
}

/// An error of this door's own, which no op knows.
pub(super) fn refusal<'a>(about: &'a About, code: &'static str, message: impl Into<Cow<'a, str>>) -> ServerFrame<'a> {
    ERRORS.count(code);
    ServerFrame::Error(ErrorFrame {
        code: code.into(),
        message: message.into(),
        room_id: about.room_id.as_deref().map(Cow::Borrowed),
        client_message_id: about.client_message_id.as_deref().map(Cow::Borrowed),
        field: None,
        retryable: false,
        retry_after_ms: None,
        reference: about.reference(),
    })
}

/// A frame that could not be read. What it named is repeated only as far as the limits let it be named.
pub(super) fn unreadable(error: FrameError, longest: usize) -> ServerFrame<'static> {
    ERRORS.count(error.kind.code());
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
