//! What a client sends.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::lenient;

/// A frame from a client and the `ref` that its answer is to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The client's own name for this frame.
    pub reference: Option<Cow<'a, str>>,
    /// What it asks.
    pub frame: ClientFrame<'a>,
}

/// What a client may ask. Ids are still texts here: what an id that is no UUID means depends on who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Authenticates, or extends the connection with a newer token of the same user.
    Auth {
        /// The JWT.
        token: Cow<'a, str>,
    },
    /// Listens to a room.
    Join {
        /// Which.
        room_id: Cow<'a, str>,
        /// The last `seq` that the client has; 0 is the beginning.
        since: Option<u64>,
        /// The epoch in which it was given.
        epoch: Option<Cow<'a, str>>,
    },
    /// Listens no more.
    Leave {
        /// Which room.
        room_id: Cow<'a, str>,
    },
    /// Posts a message.
    Message {
        /// Where.
        room_id: Cow<'a, str>,
        /// What it says.
        content: Cow<'a, str>,
        /// The sender's own id for it.
        client_message_id: Option<Cow<'a, str>>,
        /// The author, if not the caller.
        user_id: Option<Cow<'a, str>>,
    },
    /// Asks for a `pong`.
    Ping,
}

/// A frame that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// What kind of mistake it is.
    pub kind: FrameErrorKind,
    /// What to do.
    pub message: String,
    /// The field that is wrong, where it is one.
    pub field: Option<&'static str>,
    /// The frame's `ref`, where it could be read.
    pub reference: Option<String>,
    /// The frame's `roomId`, where it could be read.
    pub room_id: Option<String>,
    /// The frame's `clientMessageId`, where it could be read.
    pub client_message_id: Option<String>,
}

/// The kinds of mistakes in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameErrorKind {
    /// Not a JSON object of the right shape.
    Malformed,
    /// A `type` that this version does not know.
    UnknownType,
    /// A field that its type needs is absent, or is no text.
    Invalid,
}

impl FrameErrorKind {
    /// The stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown_type",
            Self::Invalid => "invalid",
        }
    }
}

/// All fields of all frames at once: one pass over the text, nothing buffered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Flat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(rename = "ref", borrow, default)]
    pub(super) reference: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) token: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) room_id: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) since: Option<u64>,
    #[serde(borrow, default)]
    pub(super) epoch: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) client_message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) user_id: Option<Cow<'a, str>>,
}

impl<'a> Incoming<'a> {
    /// Reads a text frame. Fields that are not known are ignored; lengths are not judged here.
    ///
    /// # Errors
    /// What is wrong, in words that repeat nothing of the frame; with what the frame says about itself where it is JSON at all.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        // A struct may otherwise be read from an array of its fields.
        let is_object = text.trim_ascii_start().starts_with('{');
        let read = if is_object { serde_json::from_str(text).ok() } else { None };
        let mut flat: Flat<'a> = match read {
            Some(flat) => flat,
            None => lenient::read(text)?,
        };
        let room_id = flat.room_id.take();
        let frame = match (&*flat.kind, room_id) {
            ("auth", room_id) => match flat.token.take() {
                Some(token) => ClientFrame::Auth { token },
                None => return Err(missing(flat, room_id, "token")),
            },
            ("join", Some(room_id)) => ClientFrame::Join { room_id, since: flat.since, epoch: flat.epoch.take() },
            ("leave", Some(room_id)) => ClientFrame::Leave { room_id },
            ("message", Some(room_id)) => match flat.content.take() {
                Some(content) => ClientFrame::Message {
                    room_id,
                    content,
                    client_message_id: flat.client_message_id.take(),
                    user_id: flat.user_id.take(),
                },
                None => return Err(missing(flat, Some(room_id), "content")),
            },
            ("join" | "leave" | "message", None) => return Err(missing(flat, None, "roomId")),
            ("ping", _) => ClientFrame::Ping,
            (_, room_id) => {
                let message = "`type` must be one of auth, join, leave, message, ping".to_owned();
                return Err(failed(flat, room_id, FrameErrorKind::UnknownType, Some("type"), message));
            }
        };
        Ok(Self { reference: flat.reference, frame })
    }
}

fn missing(flat: Flat<'_>, room_id: Option<Cow<'_, str>>, field: &'static str) -> FrameError {
    let message = format!("`{}` needs the field `{field}`", flat.kind);
    failed(flat, room_id, FrameErrorKind::Invalid, Some(field), message)
}

pub(super) fn failed(
    flat: Flat<'_>,
    room_id: Option<Cow<'_, str>>,
    kind: FrameErrorKind,
    field: Option<&'static str>,
    message: String,
) -> FrameError {
    FrameError {
        kind,
        message,
        field,
        reference: flat.reference.map(Cow::into_owned),
        room_id: room_id.map(Cow::into_owned),
        client_message_id: flat.client_message_id.map(Cow::into_owned),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Outgoing<'a> {
    Auth {
        token: &'a str,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Join {
        room_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<&'a str>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Leave {
        room_id: &'a str,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Message {
        room_id: &'a str,
        content: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_message_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a str>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Ping {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
}

/// The text of a client's frame, for clients.
pub fn encode_client_frame(incoming: &Incoming<'_>) -> Result<String, serde_json::Error> {
    let reference = incoming.reference.as_deref();
    let outgoing = match &incoming.frame {
        ClientFrame::Auth { token } => Outgoing::Auth { token, reference },
        ClientFrame::Join { room_id, since, epoch } => {
            Outgoing::Join { room_id, since: *since, epoch: epoch.as_deref(), reference }
        }
        ClientFrame::Leave { room_id } => Outgoing::Leave { room_id, reference },
        ClientFrame::Message { room_id, content, client_message_id, user_id } => Outgoing::Message {
            room_id,
            content,
            client_message_id: client_message_id.as_deref(),
            user_id: user_id.as_deref(),
            reference,
        },
        ClientFrame::Ping => Outgoing::Ping { reference },
    };
    serde_json::to_string(&outgoing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_contract_shows() {
        let text = r#"{"type":"message","roomId":"r","content":"a\"b","clientMessageId":"c","ref":"1","later":{"x":[1]}}"#;
        let incoming = Incoming::parse(text).unwrap();
        assert_eq!(incoming.reference.as_deref(), Some("1"));
        let ClientFrame::Message { content, client_message_id, user_id, .. } = incoming.frame else { panic!("{incoming:?}") };
        assert_eq!((&*content, client_message_id.as_deref(), user_id), ("a\"b", Some("c"), None));
    }

    #[test]
    fn tells_mistakes_apart() {
        for (text, code) in [
            ("", "malformed"),
            ("[]", "malformed"),
            (r#"["ping"]"#, "malformed"),
            ("{}", "malformed"),
            (r#"{"type":5}"#, "malformed"),
            (r#"{"type":"ping""#, "malformed"),
            (r#"{"type":"join","roomId":"r","since":-1}"#, "malformed"),
            (r#"{"type":"join","roomId":"r","since":1e400}"#, "malformed"),
            (r#"{"type":"join","roomId":"r","since":41.5}"#, "malformed"),
            (r#"{"type":"message","roomId":"r","content":"\ud800"}"#, "invalid"),
            (r#"{"type":"fly"}"#, "unknown_type"),
            (r#"{"type":"join"}"#, "invalid"),
            (r#"{"type":"message","roomId":"r"}"#, "invalid"),
            (r#"{"type":"auth"}"#, "invalid"),
        ] {
            assert_eq!(Incoming::parse(text).unwrap_err().kind.code(), code, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_frame_recognised() {
        let message = |more: &str| {
            format!(r#"{{"type":"message","roomId":"r","content":"c","clientMessageId":"i","userId":"u","ref":"f"{more}}}"#)
        };
        for (text, field, code) in [
            (message("").replace("\"c\"", r#""half \ud83d""#), "content", "invalid"),
            (message("").replace("\"c\"", r#""\ude00 half""#), "content", "invalid"),
            (message("").replace("\"u\"", r#""\ud83d""#), "userId", "invalid"),
            (message("").replace("\"u\"", "{}"), "userId", "malformed"),
            (message("").replace("\"message\"", r#""\ud83d""#), "type", "invalid"),
            (message("").replace("\"message\"", "7"), "type", "malformed"),
            (message("").replace(r#""type":"message","#, ""), "type", "malformed"),
            (message("").replace("\"message\"", "\"fly\""), "type", "unknown_type"),
            (message(r#","since":-1"#), "since", "malformed"),
            (message(r#","since":1e400"#), "since", "malformed"),
            (message(r#","since":"41""#), "since", "malformed"),
            (message(r#","content":"again""#), "content", "malformed"),
            (message(r#","\u0063ontent":"again""#), "content", "malformed"),
            (message("").replace(r#""content":"c","#, ""), "content", "invalid"),
            (message(r#","epoch":[[[]]]"#), "epoch", "malformed"),
            (message(r#","token":7,"\ud83d":1"#), "token", "malformed"),
        ] {
            let error = Incoming::parse(&text).unwrap_err();
            assert_eq!((error.field, error.kind.code()), (Some(field), code), "{text}");
            let named = (error.reference.as_deref(), error.room_id.as_deref(), error.client_message_id.as_deref());
            assert_eq!(named, (Some("f"), Some("r"), Some("i")), "{text}");
        }
        for (own, field) in [("\"r\"", "roomId"), ("\"i\"", "clientMessageId"), ("\"f\"", "ref")] {
            for value in [r#""\ud83d""#, "7", "[]"] {
                let error = Incoming::parse(&message("").replace(own, value)).unwrap_err();
                assert_eq!(error.field, Some(field), "{own} {value}");
                let named = [error.room_id, error.client_message_id, error.reference];
                assert_eq!(named.iter().filter(|name| name.is_some()).count(), 2, "{own} {value}");
            }
        }
    }

    #[test]
    fn what_only_looks_unusual_is_taken() {
        for since in ["41", "41.0", "4.1e1", "410e-1", "41.000"] {
            let text = format!(r#"{{"type":"join","roomId":"r","since":{since},"ref":"f"}}"#);
            let incoming = Incoming::parse(&text).unwrap();
            assert_eq!(incoming.reference.as_deref(), Some("f"));
            assert_eq!(incoming.frame, ClientFrame::Join { room_id: "r".into(), since: Some(41), epoch: None });
        }
        for more in [r#""\ud83d":1"#, r#""x":"\ud83d""#, r#""x":{"\ude00":["\ud83d"]}"#, r#""x":1e400,"\ud83d":{}"#] {
            let text = format!(r#"{{{more},"type":"ping","ref":"f"}}"#);
            assert_eq!(Incoming::parse(&text).unwrap().frame, ClientFrame::Ping, "{text}");
        }
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert_eq!(Incoming::parse(&format!(r#"{{"type":"ping","new":{nested}}}"#)).unwrap().frame, ClientFrame::Ping);
        assert_eq!(Incoming::parse(&format!(r#"{{"type":{nested}}}"#)).unwrap_err().kind, FrameErrorKind::Malformed);
    }

    #[test]
    fn an_error_never_repeats_what_was_sent() {
        let error = Incoming::parse(r#"{"type":{"secret":1}}"#).unwrap_err();
        assert!(!error.message.contains("secret"), "{}", error.message);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Incoming::parse(&text);
        }

        #[test]
        fn what_a_client_writes_is_what_the_server_reads(
            room_id in ".{0,40}", content in ".{0,200}", id in proptest::option::of(".{0,70}"), since in proptest::option::of(any::<u64>()),
        ) {
            let sent = [
                ClientFrame::Message { room_id: room_id.clone().into(), content: content.into(), client_message_id: id.clone().map(Into::into), user_id: None },
                ClientFrame::Join { room_id: room_id.into(), since, epoch: id.clone().map(Into::into) },
            ];
            for frame in sent {
                let incoming = Incoming { reference: id.clone().map(Into::into), frame };
                let text = encode_client_frame(&incoming).unwrap();
                prop_assert_eq!(Incoming::parse(&text).unwrap(), incoming);
            }
        }
    }
}
