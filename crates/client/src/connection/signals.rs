//! Signals: ephemeral frames in both directions. This file and [`Update`] have all that depends on their kinds.

use std::time::Duration;

use chatsphere_protocol::frames::ClientFrame;
use chatsphere_protocol::json::RawJson;
use chatsphere_protocol::rest::UserRef;
use chatsphere_types::{MessageId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Connection;
use super::command::Command;
use super::update::Update;
use crate::error::RequestError;

impl Connection {
    /// Shows others in a room that the user types, optionally in the thread of `parent`, or has stopped. Call it every 3 s
    /// while the user types; the indicator expires 6 s after the last call, or with the user's next message. Does nothing while
    /// the connection is down. The server's errors arrive as [`Update::Error`].
    ///
    /// # Errors
    /// [`RequestError::Closed`]
    pub async fn typing(&self, room: RoomId, parent: Option<MessageId>, on: bool) -> Result<(), RequestError> {
        let parent_id = parent.map(|parent| parent.to_string().into());
        let frame = ClientFrame::Typing { room_id: room.to_string().into(), parent_id, on: Some(on), user_id: None };
        self.send_signal(frame).await
    }

    /// Sends a signal of the application to all connections that have joined the room except this one: `name` has 1 to 32
    /// characters, `data` at most 1 KiB. Does nothing while the connection is down. The signal may be lost, and the server's
    /// errors arrive as [`Update::Error`].
    ///
    /// # Errors
    /// [`RequestError::Closed`]
    pub async fn signal(&self, room: RoomId, name: impl Into<String>, data: &RawValue) -> Result<(), RequestError> {
        let (name, data) = (name.into().into(), RawJson::new(data.get().to_owned()));
        self.send_signal(ClientFrame::Signal { room_id: room.to_string().into(), name, data, user_id: None }).await
    }

    /// Sends a frame unless the connection is down: after a reconnect it would be outdated.
    async fn send_signal(&self, frame: ClientFrame<'static>) -> Result<(), RequestError> {
        self.commands.send(Command::Signal(frame)).await.map_err(|_| RequestError::Closed)
    }
}

/// Parses a signal from the server, with its room. `None` for a frame of another type.
pub(crate) fn parse(kind: &str, text: &str) -> Result<Option<(RoomId, Update)>, serde_json::Error> {
    Ok(Some(match kind {
        "typing" => {
            let Typing { room_id: room, user, parent_id: parent, expires_in_ms } = serde_json::from_str(text)?;
            (room, Update::Typing { room, user, parent, expires_in: Duration::from_millis(expires_in_ms) })
        }
        "typing_count" => {
            let TypingCount { room_id: room, count } = serde_json::from_str(text)?;
            (room, Update::TypingCount { room, count })
        }
        "signal" => {
            let Signal { room_id: room, user, name, data } = serde_json::from_str(text)?;
            (room, Update::Signal { room, user, name, data: data.into_string() })
        }
        _ => return Ok(None),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typing {
    room_id: RoomId,
    user: UserRef<'static>,
    #[serde(default)]
    parent_id: Option<MessageId>,
    expires_in_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypingCount {
    room_id: RoomId,
    count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signal {
    room_id: RoomId,
    user: UserRef<'static>,
    name: String,
    data: RawJson<'static>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_its_digits() {
        let id = "0198c0de-7c1a-7000-8000-0123456789ab";
        let sent = r#"{ "n": 1.00000000000000000000000000000000000001 }"#;
        let text = format!(
            r#"{{"type":"signal","roomId":"{id}","user":{{"id":"{id}","username":"ada"}},"name":"move","data":{sent}}}"#
        );
        let Ok(Some((_, Update::Signal { name, data, .. }))) = parse("signal", &text) else { panic!("no signal") };
        assert_eq!((name.as_str(), data.as_str()), ("move", sent));
        assert!(matches!(parse("presence", &text), Ok(None)));
    }
}
