//! The frames that a client sends.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{Fields, name};
use crate::json::RawJson;

/// A frame from a client, with its `ref`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClientFrame)]
pub struct Incoming<'a> {
    /// The frame without its `ref`.
    #[serde(flatten)]
    pub frame: ClientFrame<'a>,
    /// The client's own id of this frame, 1 to 64 bytes. The answer repeats it.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

/// Declares every frame once, as `"type" => Variant { fields }`. The code that reads and writes frames follows from it. A field
/// is optional if its type is an `Option`, and required otherwise. A field that no other frame has also needs a line in
/// `fields.rs`.
macro_rules! client_frames {
    (
        $(#[$about:meta])*
        pub enum $frame:ident<$lifetime:lifetime> {
            $($(#[$what:meta])* $kind:literal => $variant:ident $({ $($(#[$attribute:meta])* $field:ident: $type:ty,)* })?,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(tag = "type")]
        #[schema(as = ClientFrameKind, description = "A frame that a client sends.")]
        pub enum $frame<$lifetime> {
            $(
                $(#[$what])*
                #[serde(rename = $kind, rename_all = "camelCase")]
                #[schema(rename = $kind)]
                $variant $({ $($(#[$attribute])* $field: $type,)* })?,
            )*
        }

        impl<$lifetime> $frame<$lifetime> {
            /// The `type` of every frame.
            pub const TYPES: &'static [&'static str] = &[$($kind,)*];

            fn take(kind: &str, fields: &mut Fields<$lifetime>) -> Result<Self, Wrong> {
                Ok(match kind {
                    $($kind => Self::$variant $({
                        $($field: Field::take(&mut fields.$field).ok_or(Wrong::Missing(name::$field))?,)*
                    })?,)*
                    _ => return Err(Wrong::Type),
                })
            }

            /// The text of the field with this name on the wire, if this frame has it.
            fn text(&self, wanted: &str) -> Option<&str> {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        $($(if name::$field == wanted {
                            return $field.text();
                        })*)?
                        None
                    })*
                }
            }
        }
    };
}

client_frames! {
    /// A frame that a client sends. Ids are unparsed texts, because the error for an id that is not a UUID depends on the
    /// caller's rights.
    pub enum ClientFrame<'a> {
        /// Authenticates, or extends the connection with a newer token of the same user.
        "auth" => Auth {
            /// The JWT.
            token: Cow<'a, str>,
        },
        /// Subscribes the connection to a room's events.
        "join" => Join {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The `seq` of the last event that the client has; 0 if it has none. Without `since` the newest messages are sent.
            #[serde(skip_serializing_if = "Option::is_none")]
            since: Option<u64>,
            /// The epoch in which the client received that `seq`, from `join_confirmation`.
            #[serde(skip_serializing_if = "Option::is_none")]
            epoch: Option<Cow<'a, str>>,
        },
        /// Ends the connection's subscription to a room.
        "leave" => Leave {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
        },
        /// Posts a message.
        "message" => Message {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The content: 1 byte to 32 KiB of UTF-8.
            content: Cow<'a, str>,
            /// The sender's own id of the message, 1 to 64 bytes. A retry with the same id stores nothing and is answered like
            /// the first attempt.
            #[serde(skip_serializing_if = "Option::is_none")]
            client_message_id: Option<Cow<'a, str>>,
            /// The author, if not the caller. Only a CLIENT token may name another user.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Replaces a message's content.
        "edit" => Edit {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The message.
            #[schema(format = "uuid")]
            message_id: Cow<'a, str>,
            /// The new content: 1 byte to 32 KiB of UTF-8.
            content: Cow<'a, str>,
            /// The version on which this edit is based. If the message has a later version, the edit fails with
            /// `version_conflict`.
            #[serde(skip_serializing_if = "Option::is_none")]
            if_version: Option<u64>,
            /// The user for whom the caller acts, with that user's rights and limits. Only a CLIENT token may name another user.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Deletes a message.
        "delete" => Delete {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The message.
            #[schema(format = "uuid")]
            message_id: Cow<'a, str>,
            /// The user for whom the caller acts, with that user's rights and limits. Only a CLIENT token may name another user.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Signals to the room's other members that a user is typing, or has stopped.
        "typing" => Typing {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The message in whose thread the user types.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            parent_id: Option<Cow<'a, str>>,
            /// Whether the user is typing (the default) or has stopped.
            #[serde(skip_serializing_if = "Option::is_none")]
            on: Option<bool>,
            /// The user who types, if not the caller. Only a CLIENT token may name another user.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Sends the room's other connections a signal that the application defines.
        "signal" => Signal {
            /// The room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// What it is: 1 to 32 characters.
            name: Cow<'a, str>,
            /// Its content: any JSON of up to 1 KiB and 16 levels. It is passed on as it is written.
            #[schema(value_type = serde_json::Value)]
            data: RawJson<'a>,
            /// The user who sends it, if not the caller. Only a CLIENT token may name another user.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Requests a `pong`.
        "ping" => Ping,
    }
}

impl ClientFrame<'_> {
    /// The room of the frame, as the client wrote it.
    pub fn room_id(&self) -> Option<&str> {
        self.text(name::room_id)
    }

    /// The `clientMessageId` of the frame, if it has one.
    pub fn client_message_id(&self) -> Option<&str> {
        self.text(name::client_message_id)
    }
}

/// Takes a frame's field from the fields that were parsed. `take` returns `None` if a required field is absent.
trait Field<T>: Sized {
    fn take(slot: &mut Option<T>) -> Option<Self>;
}

impl<T> Field<T> for T {
    fn take(slot: &mut Option<T>) -> Option<Self> {
        slot.take()
    }
}

impl<T> Field<T> for Option<T> {
    fn take(slot: &mut Option<T>) -> Option<Self> {
        Some(slot.take())
    }
}

/// Returns a field's text, if the field is a text and present.
trait FieldText {
    fn text(&self) -> Option<&str>;
}

impl FieldText for Cow<'_, str> {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl FieldText for u64 {
    fn text(&self) -> Option<&str> {
        None
    }
}

impl FieldText for bool {
    fn text(&self) -> Option<&str> {
        None
    }
}

impl FieldText for RawJson<'_> {
    fn text(&self) -> Option<&str> {
        None
    }
}

impl<T: FieldText> FieldText for Option<T> {
    fn text(&self) -> Option<&str> {
        self.as_ref()?.text()
    }
}

/// Why the parsed fields are not a frame.
enum Wrong {
    /// No frame has this `type`.
    Type,
    /// A required field is absent.
    Missing(&'static str),
}

/// The error about a frame that could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// The kind of the error.
    pub kind: FrameErrorKind,
    /// What is wrong, and what to do.
    pub message: String,
    /// The invalid field, if the error is about one.
    pub field: Option<&'static str>,
    /// The frame's `ref`, if it could be parsed.
    pub reference: Option<String>,
    /// The frame's `roomId`, if it could be parsed.
    pub room_id: Option<String>,
    /// The frame's `clientMessageId`, if it could be parsed.
    pub client_message_id: Option<String>,
}

/// The kinds of errors about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameErrorKind {
    /// The text is not JSON, or not an object.
    Malformed,
    /// This version does not know the `type`.
    UnknownType,
    /// A required field is absent, or a field has the wrong type.
    Invalid,
}

impl FrameErrorKind {
    /// Returns the stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown_type",
            Self::Invalid => "invalid",
        }
    }
}

impl<'a> Incoming<'a> {
    /// Parses a text frame. Unknown fields are ignored. Lengths are not checked here.
    ///
    /// # Errors
    /// The error repeats no content of the frame. If the text is JSON, it has the `ref`, `roomId` and `clientMessageId` of the
    /// frame.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        let mut fields = Fields::read(text)?;
        let kind = fields.kind.take().unwrap_or_default();
        let (field, error, message) = match ClientFrame::take(&kind, &mut fields) {
            Ok(frame) => return Ok(Self { frame, reference: fields.reference }),
            Err(Wrong::Missing(field)) => (field, FrameErrorKind::Invalid, format!("`{kind}` needs the field `{field}`")),
            Err(Wrong::Type) => {
                let types = ClientFrame::TYPES.join(", ");
                (name::kind, FrameErrorKind::UnknownType, format!("`type` must be one of {types}"))
            }
        };
        // `take` has already removed some fields from `fields`, so the text is parsed again.
        Err(FrameError::of_field(Fields::read(text)?, error, field, message))
    }
}

impl FrameError {
    /// Makes the error about one invalid field. It takes the `ref` and the ids from `fields`.
    pub(super) fn of_field(fields: Fields<'_>, kind: FrameErrorKind, field: &'static str, message: String) -> Self {
        Self {
            kind,
            message,
            field: Some(field),
            reference: fields.reference.map(Cow::into_owned),
            room_id: fields.room_id.map(Cow::into_owned),
            client_message_id: fields.client_message_id.map(Cow::into_owned),
        }
    }
}

/// Encodes a frame as a client sends it.
pub fn encode_client_frame(incoming: &Incoming<'_>) -> Result<String, serde_json::Error> {
    serde_json::to_string(incoming)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documented_frames_are_parsed() {
        let text = r#"{"type":"message","roomId":"r","content":"a\"b","clientMessageId":"c","ref":"1","later":{"x":[1]}}"#;
        let incoming = Incoming::parse(text).unwrap();
        assert_eq!(incoming.reference.as_deref(), Some("1"));
        let ClientFrame::Message { content, client_message_id, user_id, .. } = incoming.frame else { panic!("{incoming:?}") };
        assert_eq!((&*content, client_message_id.as_deref(), user_id), ("a\"b", Some("c"), None));
    }

    #[test]
    fn a_text_without_escapes_is_not_copied() {
        let text = r#"{"type":"message","roomId":"r","content":"plain","clientMessageId":"c","ref":"1"}"#;
        let incoming = Incoming::parse(text).unwrap();
        let ClientFrame::Message { room_id, content, client_message_id, .. } = &incoming.frame else { panic!("{incoming:?}") };
        assert!(matches!((room_id, content), (Cow::Borrowed(_), Cow::Borrowed(_))), "{incoming:?}");
        assert!(matches!((client_message_id, &incoming.reference), (Some(Cow::Borrowed(_)), Some(Cow::Borrowed(_)))));
        assert_eq!((incoming.frame.room_id(), incoming.frame.client_message_id()), (Some("r"), Some("c")));
    }

    #[test]
    fn frames_are_written_as_documented() {
        let written = |frame, reference: Option<&'static str>| {
            encode_client_frame(&Incoming { frame, reference: reference.map(Into::into) }).unwrap()
        };
        assert_eq!(written(ClientFrame::Ping, None), r#"{"type":"ping"}"#);
        let join = ClientFrame::Join { room_id: "r".into(), since: Some(41), epoch: None };
        assert_eq!(written(join, Some("7")), r#"{"type":"join","roomId":"r","since":41,"ref":"7"}"#);
        let message = ClientFrame::Message {
            room_id: "r".into(),
            content: "c".into(),
            client_message_id: Some("i".into()),
            user_id: None,
        };
        assert_eq!(written(message, None), r#"{"type":"message","roomId":"r","content":"c","clientMessageId":"i"}"#);
    }

    #[test]
    fn every_type_is_read() {
        for kind in ClientFrame::TYPES {
            let error = Incoming::parse(&format!(r#"{{"type":"{kind}"}}"#)).err().map(|error| error.kind);
            assert_ne!(error, Some(FrameErrorKind::UnknownType), "{kind}");
        }
        assert_eq!(
            Incoming::parse(r#"{"type":"fly"}"#).unwrap_err().message,
            "`type` must be one of auth, join, leave, message, edit, delete, typing, signal, ping"
        );
    }

    #[test]
    fn each_error_has_its_kind() {
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
    fn an_error_names_the_field_and_the_frame() {
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
            (message(r#","on":"yes""#), "on", "malformed"),
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
    fn unusual_but_valid_json_is_accepted() {
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
            room_id in ".{0,40}",
            content in ".{0,200}",
            id in proptest::option::of(".{0,70}"),
            since in proptest::option::of(any::<u64>()),
        ) {
            let sent = [
                ClientFrame::Message {
                    room_id: room_id.clone().into(),
                    content: content.into(),
                    client_message_id: id.clone().map(Into::into),
                    user_id: None,
                },
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
