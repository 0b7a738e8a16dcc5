//! The fields of clients' frames of all types.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::client::FrameError;
use super::lenient::{self, OneByOne};

/// Declares every field once: its name in Rust and on the wire.
macro_rules! fields {
    (
        texts { $($text:ident = $text_name:literal,)* }
        numbers { $($number:ident = $number_name:literal,)* }
        switches { $($switch:ident = $switch_name:literal,)* }
    ) => {
        /// The fields of all frames in one struct, so that a frame is parsed in one pass without buffering.
        #[derive(Default, Deserialize)]
        pub(super) struct Fields<'a> {
            $(#[serde(rename = $text_name, borrow, default, deserialize_with = "text")]
            pub(super) $text: Option<Cow<'a, str>>,)*
            $(#[serde(rename = $number_name, default)]
            pub(super) $number: Option<u64>,)*
            $(#[serde(rename = $switch_name, default)]
            pub(super) $switch: Option<bool>,)*
        }

        /// The names of the fields on the wire.
        #[allow(non_upper_case_globals, dead_code, reason = "each is named like its field, whether or not it is asked for")]
        pub(super) mod name {
            $(pub(in super::super) const $text: &str = $text_name;)*
            $(pub(in super::super) const $number: &str = $number_name;)*
            $(pub(in super::super) const $switch: &str = $switch_name;)*
        }

        impl Fields<'static> {
            /// The names of all fields on the wire.
            pub(super) const NAMES: &'static [&'static str] = &[$($text_name,)* $($number_name,)* $($switch_name,)*];

            /// Parses each field separately.
            pub(super) fn one_by_one(members: &mut OneByOne<'_>) -> Self {
                Self {
                    $($text: members.text($text_name),)*
                    $($number: members.number($number_name),)*
                    $($switch: members.switch($switch_name),)*
                }
            }
        }
    };
}

fields! {
    texts {
        reference = "ref",
        token = "token",
        room_id = "roomId",
        epoch = "epoch",
        content = "content",
        client_message_id = "clientMessageId",
        user_id = "userId",
        parent_id = "parentId",
        message_id = "messageId",
        kind = "type",
    }
    numbers {
        since = "since",
        if_version = "ifVersion",
    }
    switches {
        on = "on",
    }
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

/// Parses a text, borrowed from the frame unless it contains escapes.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|text| text.0))
}
