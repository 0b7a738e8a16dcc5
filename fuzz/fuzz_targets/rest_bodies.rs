//! Parsing any body and checking its fields gives a value within the limits or an error.

#![no_main]

use chatsphere_core::{Content, Email, Limits, RoomName, Username};
use chatsphere_protocol::rest::{
    AddUser, ChangeProfile, ChangeUser, CreateRoom, CreateUser, MintClientToken, MintUserToken, PostMessage,
};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::Serialize;

/// Some of the characters that no name may contain.
const HIDDEN: [char; 4] = ['\n', '\u{200b}', '\u{202e}', '\u{feff}'];

fuzz_target!(|body: &[u8]| {
    let limits = Limits::default();
    if let Some(body) = read::<CreateUser>(body)
        && let Ok(username) = Username::parse(body.username, &limits)
    {
        assert!((1..=limits.username_chars).contains(&username.as_str().chars().count()));
        assert!(!username.as_str().contains(HIDDEN));
    }
    if let Some(body) = read::<CreateRoom>(body)
        && let Ok(name) = RoomName::parse(body.name, &limits)
    {
        assert!((1..=limits.room_name_chars).contains(&name.as_str().chars().count()));
        assert!(!name.as_str().contains(HIDDEN));
    }
    if let Some(body) = read::<PostMessage>(body)
        && let Ok(content) = Content::parse(body.content, &limits)
    {
        assert!((1..=limits.message_bytes).contains(&content.as_str().len()) && !content.as_str().contains('\0'));
    }
    if let Some(body) = read::<MintClientToken>(body) {
        let _ = Email::parse(body.email);
    }
    let _ = (read::<MintUserToken>(body), read::<AddUser>(body), read::<ChangeProfile>(body), read::<ChangeUser>(body));
});

/// Parses a body. If that succeeds, it can be encoded and parsed again.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(body: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(body).ok()?;
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), read);
    Some(read)
}
