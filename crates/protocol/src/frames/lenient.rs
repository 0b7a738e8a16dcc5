//! Reads a frame that could not be read at once, field by field: to take what only looks unusual, and else to say which field is
//! wrong and to repeat what the frame says about itself.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::client::{Flat, FrameError, FrameErrorKind, failed};
use crate::json::{HALF_A_PAIR, mend_names, whole_number};

/// A frame's fields.
pub(super) const FIELDS: [&str; 9] =
    ["type", "ref", "token", "roomId", "since", "epoch", "content", "clientMessageId", "userId"];

/// Reads a frame again.
pub(super) fn read(text: &str) -> Result<Flat<'static>, FrameError> {
    // Of what is skipped only the grammar is checked. `serde_json` may quote what it found, so only its place is told.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(unreadable(format!("this is not JSON (line {}, column {})", error.line(), error.column())));
    }
    let text = mend_names(text);
    let Ok(members) = serde_json::from_str::<Members<'_>>(&text) else {
        return Err(unreadable("a frame is a JSON object with a string `type`".to_owned()));
    };
    let mut wrong: Option<Wrong> =
        members.repeated.map(|field| Wrong::new(field, FrameErrorKind::Malformed, "must be there once"));
    let mut find = |field: &'static str| text_of(members.value(field), field, &mut wrong);
    let mut flat = Flat {
        kind: Cow::Borrowed(""),
        reference: find("ref"),
        token: find("token"),
        room_id: find("roomId"),
        since: None,
        epoch: find("epoch"),
        content: find("content"),
        client_message_id: find("clientMessageId"),
        user_id: find("userId"),
    };
    let kind = find("type");
    match members.value("since").map(RawValue::get) {
        None | Some("null") => {}
        Some(number) => match whole_number(number) {
            Some(since) => flat.since = Some(since),
            None => note(&mut wrong, Wrong::new("since", FrameErrorKind::Malformed, "must be a whole number from 0")),
        },
    }
    match (kind, wrong) {
        (Some(kind), None) => Ok(Flat { kind, ..flat }),
        (kind, wrong) => {
            let wrong = wrong.unwrap_or(Wrong::new("type", FrameErrorKind::Malformed, "is required, and must be a string"));
            let room_id = flat.room_id.take();
            let flat = Flat { kind: kind.unwrap_or_default(), ..flat };
            Err(failed(flat, room_id, wrong.kind, Some(wrong.field), format!("{}: {}", wrong.field, wrong.message)))
        }
    }
}

/// A field that is wrong.
struct Wrong {
    field: &'static str,
    kind: FrameErrorKind,
    message: &'static str,
}

impl Wrong {
    fn new(field: &'static str, kind: FrameErrorKind, message: &'static str) -> Self {
        Self { field, kind, message }
    }
}

/// One is enough to be told.
fn note(wrong: &mut Option<Wrong>, another: Wrong) {
    wrong.get_or_insert(another);
}

/// The text of a field; none if it is absent, null or wrong.
fn text_of(value: Option<&RawValue>, field: &'static str, wrong: &mut Option<Wrong>) -> Option<Cow<'static, str>> {
    let json = value?.get();
    if json == "null" {
        return None;
    }
    if !json.starts_with('"') {
        note(wrong, Wrong::new(field, FrameErrorKind::Malformed, "must be a string"));
        return None;
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => Some(Cow::Owned(text)),
        // Its grammar was checked: nothing else can be wrong with it.
        Err(_) => {
            note(wrong, Wrong::new(field, FrameErrorKind::Invalid, HALF_A_PAIR));
            None
        }
    }
}

fn unreadable(message: String) -> FrameError {
    FrameError {
        kind: FrameErrorKind::Malformed,
        message,
        field: None,
        reference: None,
        room_id: None,
        client_message_id: None,
    }
}

/// The members of a frame that are fields of ours. Of several with one name the last counts, as in browsers.
struct Members<'a> {
    values: [Option<&'a RawValue>; FIELDS.len()],
    repeated: Option<&'static str>,
}

impl<'a> Members<'a> {
    fn value(&self, field: &str) -> Option<&'a RawValue> {
        FIELDS.iter().zip(self.values).find(|(name, _)| **name == field).and_then(|(_, value)| value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members { values: Default::default(), repeated: None };
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    let place = FIELDS.iter().zip(&mut members.values).find(|(field, _)| **field == name);
                    let Some((field, place)) = place else { continue };
                    if place.replace(value).is_some() {
                        members.repeated = Some(field);
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
