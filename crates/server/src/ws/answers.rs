//! From what an op answered to the frame that tells it.

use std::borrow::Cow;

use chatsphere_core::{Error, Message};
use chatsphere_protocol::frames::{Ack, ErrorFrame, FrameError, ServerFrame};

/// What an answer repeats of the frame that it answers.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) reference: Option<String>,
    pub(super) room_id: Option<String>,
    pub(super) client_message_id: Option<String>,
}

impl About {
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
        reference: about.reference.as_deref().map(Cow::Borrowed),
    })
}

pub(super) fn error<'a>(about: &'a About, error: &Error) -> ServerFrame<'a> {
    let retry_after = match error {
        Error::RateLimited(wait) => Some(*wait),
        Error::Outage(outage) => Some(outage.retry_after()),
        _ => None,
    };
    ServerFrame::Error(ErrorFrame {
        code: error.code().into(),
        message: error.to_string().into(),
        room_id: about.room_id.as_deref().map(Cow::Borrowed),
        client_message_id: about.client_message_id.as_deref().map(Cow::Borrowed),
        retryable: error.is_retryable(),
        retry_after_ms: retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
        reference: about.reference.as_deref().map(Cow::Borrowed),
    })
}

/// An error of this door's own, which no op knows.
pub(super) fn refusal<'a>(about: &'a About, code: &'static str, message: &'static str) -> ServerFrame<'a> {
    ServerFrame::Error(ErrorFrame {
        code: code.into(),
        message: message.into(),
        room_id: about.room_id.as_deref().map(Cow::Borrowed),
        client_message_id: about.client_message_id.as_deref().map(Cow::Borrowed),
        retryable: false,
        retry_after_ms: None,
        reference: about.reference.as_deref().map(Cow::Borrowed),
    })
}

/// A frame that could not be read. What it named is repeated only as far as the limits let it be named.
pub(super) fn unreadable(error: FrameError, longest: usize) -> ServerFrame<'static> {
    let short = |text: Option<String>| text.filter(|text| text.len() <= longest).map(Cow::Owned);
    ServerFrame::Error(ErrorFrame {
        code: error.kind.code().into(),
        message: error.message.into(),
        room_id: short(error.room_id),
        client_message_id: short(error.client_message_id),
        retryable: false,
        retry_after_ms: None,
        reference: short(error.reference),
    })
}
