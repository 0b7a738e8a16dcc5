//! Parses a frame that failed to parse, field by field. It accepts unusual but valid JSON. Otherwise its error names the
//! invalid field, and has the frame's `ref` and ids.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::client::{FrameError, FrameErrorKind};
use super::fields::{Fields, name};
use crate::json::{HALF_A_PAIR, RawJson, replace_half_pairs, whole_number};

/// Parses a frame again.
pub(super) fn read(text: &str) -> Result<Fields<'static>, FrameError> {
    // Skipping checks the grammar only. `serde_json`'s message may quote the input, so the error gives only the place.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(unreadable(format!("this is not JSON (line {}, column {})", error.line(), error.column())));
    }
    let text = replace_half_pairs(text);
    let Ok(members) = serde_json::from_str::<Members<'_>>(&text) else {
        return Err(unreadable("a frame is a JSON object with a string `type`".to_owned()));
    };
    let wrong = members.repeated.map(|field| Wrong::new(field, FrameErrorKind::Malformed, "must be there once"));
    let mut members = OneByOne { members, wrong };
    let fields = Fields::one_by_one(&mut members);
    match (&fields.kind, members.wrong) {
        (Some(_), None) => Ok(fields),
        (_, wrong) => {
            let absent = Wrong::new(name::kind, FrameErrorKind::Malformed, "is required, and must be a string");
            let Wrong { field, kind, message } = wrong.unwrap_or(absent);
            Err(FrameError::of_field(fields, kind, field, format!("{field}: {message}")))
        }
    }
}

/// A frame's members, each parsed separately. The first invalid one is kept for the error.
pub(super) struct OneByOne<'a> {
    members: Members<'a>,
    wrong: Option<Wrong>,
}

impl OneByOne<'_> {
    /// Parses a member. `None` if it is absent, null or invalid.
    pub(super) fn take<T: Member>(&mut self, field: &'static str) -> Option<T> {
        let json = self.members.value(field)?.get();
        if json == "null" && !T::MAY_BE_NULL {
            return None;
        }
        match T::parse(json) {
            Ok(value) => Some(value),
            Err((kind, message)) => {
                self.wrong.get_or_insert(Wrong::new(field, kind, message));
                None
            }
        }
    }
}

/// The types of members.
pub(super) trait Member: Sized {
    /// Whether null is a value, not an absent member.
    const MAY_BE_NULL: bool = false;

    /// Parses a member's JSON, whose grammar was checked before.
    fn parse(json: &str) -> Result<Self, (FrameErrorKind, &'static str)>;
}

impl Member for Cow<'static, str> {
    fn parse(json: &str) -> Result<Self, (FrameErrorKind, &'static str)> {
        if !json.starts_with('"') {
            return Err((FrameErrorKind::Malformed, "must be a string"));
        }
        // Only half of a surrogate pair can be wrong.
        serde_json::from_str(json).map(Cow::Owned).map_err(|_| (FrameErrorKind::Invalid, HALF_A_PAIR))
    }
}

impl Member for u64 {
    fn parse(json: &str) -> Result<Self, (FrameErrorKind, &'static str)> {
        whole_number(json).ok_or((FrameErrorKind::Malformed, "must be a whole number from 0"))
    }
}

impl Member for bool {
    fn parse(json: &str) -> Result<Self, (FrameErrorKind, &'static str)> {
        json.parse().map_err(|_| (FrameErrorKind::Malformed, "must be true or false"))
    }
}

impl Member for RawJson<'static> {
    const MAY_BE_NULL: bool = true;

    fn parse(json: &str) -> Result<Self, (FrameErrorKind, &'static str)> {
        Ok(RawJson::new(json.to_owned()))
    }
}

/// An invalid field.
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

/// The members of a frame with known names. Of several with one name the last counts, as in browsers.
struct Members<'a> {
    values: [Option<&'a RawValue>; Fields::NAMES.len()],
    repeated: Option<&'static str>,
}

impl<'a> Members<'a> {
    fn value(&self, field: &str) -> Option<&'a RawValue> {
        Fields::NAMES.iter().zip(self.values).find(|(name, _)| **name == field).and_then(|(_, value)| value)
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
                let mut members = Members { values: [None; Fields::NAMES.len()], repeated: None };
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    let place = Fields::NAMES.iter().zip(&mut members.values).find(|(field, _)| **field == name);
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
