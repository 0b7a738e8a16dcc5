//! The fields of clients' frames of all types.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::client::FrameError;
use super::lenient::{self, OneByOne};
use crate::json::RawJson;

/// Declares every field once: its name in Rust, its type, and its name on the wire.
macro_rules! fields {
    ($lifetime:lifetime, $($field:ident: $type:ty = $name:literal,)*) => {
        /// The fields of all frames in one struct, so that a frame is parsed in one pass without buffering.
        #[derive(Default, Deserialize)]
        #[serde(bound(deserialize = "'de: 'a"))]
        pub(super) struct Fields<$lifetime> {
            $(#[serde(rename = $name, default, deserialize_with = "FieldType::read")]
            pub(super) $field: Option<$type>,)*
        }

        /// The names of the fields on the wire.
        #[allow(non_upper_case_globals, dead_code, reason = "each is named like its field, whether or not it is asked for")]
        pub(super) mod name {
            $(pub(in super::super) const $field: &str = $name;)*
        }

        impl Fields<'static> {
            /// The names of all fields on the wire.
            pub(super) const NAMES: &'static [&'static str] = &[$($name,)*];

            /// Parses each field separately.
            pub(super) fn one_by_one(members: &mut OneByOne<'_>) -> Self {
                Self { $($field: members.take($name),)* }
            }
        }
    };
}

fields! {
    'a,
    reference: Cow<'a, str> = "ref",
    token: Cow<'a, str> = "token",
    room_id: Cow<'a, str> = "roomId",
    epoch: Cow<'a, str> = "epoch",
    content: Cow<'a, str> = "content",
    client_message_id: Cow<'a, str> = "clientMessageId",
    user_id: Cow<'a, str> = "userId",
    parent_id: Cow<'a, str> = "parentId",
    message_id: Cow<'a, str> = "messageId",
    kind: Cow<'a, str> = "type",
    since: u64 = "since",
    if_version: u64 = "ifVersion",
    on: bool = "on",
    name: Cow<'a, str> = "name",
    data: RawJson<'a> = "data",
}

impl<'a> Fields<'a> {
    /// Parses a frame. Unknown fields are ignored. On success `type` is present.
    pub(super) fn read(text: &'a str) -> Result<Self, FrameError> {
        // serde also parses a struct from an array of its fields.
        let is_object = text.trim_ascii_start().starts_with('{');
        let read: Option<Self> = if is_object { serde_json::from_str(text).ok() } else { None };
        match read {
            Some(fields) if fields.kind.is_some() => Ok(fields),
            _ => lenient::read(text),
        }
    }
}

/// The types of fields.
trait FieldType<'de>: Sized {
    /// Parses a field's value. `None` if the field counts as absent.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error>;
}

impl<'de: 'a, 'a> FieldType<'de> for Cow<'a, str> {
    /// The text is borrowed from the frame unless it contains escapes.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|text| text.0))
    }
}

impl<'de> FieldType<'de> for u64 {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Option::deserialize(deserializer)
    }
}

impl<'de> FieldType<'de> for bool {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Option::deserialize(deserializer)
    }
}

impl<'de: 'a, 'a> FieldType<'de> for RawJson<'a> {
    /// Null is a value.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(Some(RawJson::new(<&RawValue>::deserialize(deserializer)?.get())))
    }
}
