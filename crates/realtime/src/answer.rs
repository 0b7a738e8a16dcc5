//! Builds the `ack` and `error` frames that answer a client's frame, and counts errors.

use std::borrow::Cow;

use chatsphere_core::store::Receipt;
use chatsphere_core::{Conflict, Error, Forbidden, NotFound};
use chatsphere_protocol::frames::{Ack, ErrorFrame, ServerFrame};

use crate::counter_family::CounterFamily;

static ERRORS: CounterFamily = CounterFamily::new("chatsphere_errors_total", Some(("door", "websocket")), "code");
static AUTHENTICATIONS_REFUSED: CounterFamily =
    CounterFamily::new("chatsphere_authentications_refused_total", Some(("door", "websocket")), "reason");

/// The fields of a client's frame that its answer repeats.
#[derive(Debug, Clone, Default)]
pub struct Correlation {
    /// The `ref` of the frame.
    pub reference: Option<String>,
    /// The room id in the frame.
    pub room_id: Option<String>,
    /// The client's own id of the message.
    pub client_message_id: Option<String>,
}

impl Correlation {
    /// The `ref`, borrowed for an answer.
    pub fn reference(&self) -> Option<Cow<'_, str>> {
        self.reference.as_deref().map(Cow::Borrowed)
    }

    /// Whether the frame asked for an `ack`.
    pub fn wants_ack(&self) -> bool {
        self.reference.is_some() || self.client_message_id.is_some()
    }
}

/// The `ack` of a committed write.
pub(crate) fn ack<'a>(correlation: &'a Correlation, receipt: &Receipt) -> ServerFrame<'a> {
    ServerFrame::Ack(Ack {
        room_id: receipt.room_id,
        client_message_id: correlation.client_message_id.as_deref().map(Cow::Borrowed),
        id: receipt.message_id,
        seq: receipt.seq,
        version: receipt.change.map(|(version, _)| version),
        change_seq: receipt.change.map(|(_, seq)| seq),
        created_at: receipt.at,
        reference: correlation.reference(),
    })
}

/// The `error` frame of an error from `core`.
pub fn error<'a>(correlation: &'a Correlation, error: &Error) -> ServerFrame<'a> {
    if let Error::Token(token_error) = error {
        AUTHENTICATIONS_REFUSED.increment(token_error.code());
    }
    let retry_after = match error {
        Error::RateLimited(_, wait) | Error::QuotaExceeded(wait) => Some(*wait),
        Error::Unavailable(unavailable) => Some(unavailable.retry_after()),
        _ => None,
    };
    let frame = ErrorFrame {
        field: field_of(error).map(Cow::Borrowed),
        retryable: error.is_retryable(),
        retry_after_ms: retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
        ..error_frame(correlation, error.code(), error.to_string())
    };
    ServerFrame::Error(frame)
}

/// An `error` frame for a fault that is detected before any op runs, such as an unreadable frame.
pub fn early_error<'a>(correlation: &'a Correlation, code: &'static str, message: impl Into<Cow<'a, str>>) -> ServerFrame<'a> {
    ServerFrame::Error(error_frame(correlation, code, message))
}

fn error_frame<'a>(correlation: &'a Correlation, code: &'static str, message: impl Into<Cow<'a, str>>) -> ErrorFrame<'a> {
    count_error(code);
    ErrorFrame {
        code: code.into(),
        message: message.into(),
        room_id: correlation.room_id.as_deref().map(Cow::Borrowed),
        client_message_id: correlation.client_message_id.as_deref().map(Cow::Borrowed),
        field: None,
        retryable: false,
        retry_after_ms: None,
        reference: correlation.reference(),
    }
}

/// Counts an error that is reported to a client, by code.
pub fn count_error(code: &'static str) {
    ERRORS.increment(code);
}

/// The field of the frame that caused the error.
const fn field_of(error: &Error) -> Option<&'static str> {
    match error {
        Error::Invalid(invalid) => Some(invalid.field),
        Error::Forbidden(Forbidden::NotAMember) | Error::NotFound(NotFound::Room) => Some("roomId"),
        Error::Forbidden(Forbidden::NotYourself) | Error::NotFound(NotFound::User) => Some("userId"),
        Error::NotFound(NotFound::Message) | Error::Conflict(Conflict::MessageDeleted) => Some("messageId"),
        Error::NotFound(NotFound::Parent) => Some("parentId"),
        Error::Conflict(Conflict::ClientMessageIdReused) => Some("clientMessageId"),
        Error::Conflict(Conflict::VersionConflict) => Some("ifVersion"),
        _ => None,
    }
}
