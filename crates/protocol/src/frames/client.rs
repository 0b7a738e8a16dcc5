//! What a client sends.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{Fields, name};

/// A frame from a client and the `ref` that its answer is to carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClientFrame)]
pub struct Incoming<'a> {
    /// What it asks.
    #[serde(flatten)]
    pub frame: ClientFrame<'a>,
    /// The client's own name for this frame, 1 to 64 bytes. The answer carries it too.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

/// Declares every frame once, as `"type" => Variant { fields }`. Reading and writing follow from it: a field whose type is an
/// `Option` may be absent, every other one is required. A field that no other frame has also needs a line in `fields.rs`.
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
        #[schema(as = ClientFrameKind, description = "What a client may ask.")]
        pub enum $frame<$lifetime> {
            $(
                $(#[$what])*
                #[serde(rename = $kind, rename_all = "camelCase")]
                #[schema(rename = $kind)]
                $variant $({ $($(#[$attribute])* $field: $type,)* })?,
            )*
        }

        impl<$lifetime> $frame<$lifetime> {
            /// The `type` of each.
            pub const TYPES: &'static [&'static str] = &[$($kind,)*];

            fn take(kind: &str, fields: &mut Fields<$lifetime>) -> Result<Self, Wrong> {
                Ok(match kind {
                    $($kind => Self::$variant $({
                        $($field: Field::take(&mut fields.$field).ok_or(Wrong::Missing(name::$field))?,)*
                    })?,)*
                    _ => return Err(Wrong::Type),
                })
            }

            /// The text of a field, where this frame has one of this name.
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
    /// What a client may ask. Ids are still texts here: what an id that is no UUID means depends on who asks.
    pub enum ClientFrame<'a> {
        /// Authenticates, or extends the connection with a newer token of the same user.
        "auth" => Auth {
            /// The JWT.
            token: Cow<'a, str>,
        },
        /// Listens to a room.
        "join" => Join {
            /// Which.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The last `seq` that the client has; 0 is the beginning.
            #[serde(skip_serializing_if = "Option::is_none")]
            since: Option<u64>,
            /// The epoch in which it was given.
            #[serde(skip_serializing_if = "Option::is_none")]
            epoch: Option<Cow<'a, str>>,
        },
        /// Listens no more.
        "leave" => Leave {
            /// Which room.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
        },
        /// Posts a message.
        "message" => Message {
            /// Where.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// What it says.
            content: Cow<'a, str>,
            /// The sender's own id for it.
            #[serde(skip_serializing_if = "Option::is_none")]
            client_message_id: Option<Cow<'a, str>>,
            /// The author, if not the caller.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Changes what a message says.
        "edit" => Edit {
            /// Where.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// Which message.
            #[schema(format = "uuid")]
            message_id: Cow<'a, str>,
            /// What it says from now on.
            content: Cow<'a, str>,
            /// The version that the change was made for: refused if there is a later one.
            #[serde(skip_serializing_if = "Option::is_none")]
            if_version: Option<u64>,
        },
        /// Shows the others in a room that a user types, or has stopped.
        "typing" => Typing {
            /// Where.
            #[schema(format = "uuid")]
            room_id: Cow<'a, str>,
            /// The message in whose thread it types.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            parent_id: Option<Cow<'a, str>>,
            /// Whether it types, as where this is absent, or has stopped.
            #[serde(skip_serializing_if = "Option::is_none")]
            on: Option<bool>,
            /// The user who types, if not the caller.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(format = "uuid")]
            user_id: Option<Cow<'a, str>>,
        },
        /// Asks for a `pong`.
        "ping" => Ping,
    }
}

impl ClientFrame<'_> {
    /// The room that the frame is about, as the client wrote it.
    pub fn room_id(&self) -> Option<&str> {
        self.text(name::room_id)
    }

    /// The client's own id for the message.
    pub fn client_message_id(&self) -> Option<&str> {
        self.text(name::client_message_id)
    }
}

/// A frame's field, taken from those that a text had: one that is required is `None` where it is absent.
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

/// A field's text, if it is one and it is there.
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

impl<T: FieldText> FieldText for Option<T> {
    fn text(&self) -> Option<&str> {
        self.as_ref()?.text()
    }
}

/// What keeps fields from being a frame.
enum Wrong {
    /// No frame has this `type`.
    Type,
    /// A required field is absent.
    Missing(&'static str),
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

impl<'a> Incoming<'a> {
    /// Reads a text frame. Fields that are not known are ignored; lengths are not judged here.
    ///
    /// # Errors
    /// What is wrong, in words that repeat nothing of the frame; with what the frame says about itself where it is JSON at all.
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
        // Some fields were taken out already.
        Err(FrameError::of_field(Fields::read(text)?, error, field, message))
    }
}

impl FrameError {
    /// A field is wrong in a frame that had these fields.
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

/// The text of a client's frame, for clients.
pub fn encode_client_frame(incoming: &Incoming<'_>) -> Result<String, serde_json::Error> {
    serde_json::to_string(incoming)
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
    fn what_holds_no_escapes_is_not_copied() {
        let text = r#"{"type":"message","roomId":"r","content":"plain","clientMessageId":"c","ref":"1"}"#;
        let incoming = Incoming::parse(text).unwrap();
        let ClientFrame::Message { room_id, content, client_message_id, .. } = &incoming.frame else { panic!("{incoming:?}") };
        assert!(matches!((room_id, content), (Cow::Borrowed(_), Cow::Borrowed(_))), "{incoming:?}");
        assert!(matches!((client_message_id, &incoming.reference), (Some(Cow::Borrowed(_)), Some(Cow::Borrowed(_)))));
        assert_eq!((incoming.frame.room_id(), incoming.frame.client_message_id()), (Some("r"), Some("c")));
    }

    #[test]
    fn frames_are_written_as_the_contract_shows() {
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
            "`type` must be one of auth, join, leave, message, edit, typing, ping"
        );
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
