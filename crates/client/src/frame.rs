//! Parses the server's frames, including those of newer servers: events of unknown kinds keep their place in a room's order.

use std::borrow::Cow;
use std::time::Duration;

use chatsphere_protocol::Open;
use chatsphere_protocol::frames::{Ack, ErrorFrame, EventKind, Hello, NotRecovered};
use chatsphere_protocol::rest::Message;
use chatsphere_types::{Epoch, RoomId, Seq, Timestamp};
use serde::Deserialize;
use serde_json::Map;
use serde_json::value::RawValue;

use crate::connection::{Update, signals};
use crate::event::Event;

/// A frame from the server.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are events, which then need no allocation of their own")]
pub(crate) enum Frame {
    Hello(Box<Hello>),
    AuthOk(AuthOk),
    JoinConfirmation(JoinConfirmation),
    Page(Page),
    LeaveConfirmation,
    Ack(Ack<'static>),
    Left {
        room_id: RoomId,
        reason: String,
    },
    Signal(RoomId, Update),
    Pong,
    Error(ErrorFrame<'static>),
    /// The server is about to close the connection and asks for this delay before the next.
    Closing(Duration),
    Event(Event),
    /// An unknown type that is not an event.
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthOk {
    pub(crate) expires_at: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinConfirmation {
    pub(crate) room_id: RoomId,
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) recovered: bool,
    #[serde(default)]
    pub(crate) reason: Option<Open<NotRecovered>>,
    #[serde(rename = "ref", default)]
    pub(crate) reference: Option<String>,
}

/// `previous_messages`, with messages and other events merged in order.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) room_id: RoomId,
    pub(crate) events: Vec<Event>,
    pub(crate) from: Seq,
    pub(crate) to: Seq,
    pub(crate) more: bool,
    pub(crate) reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    room_id: Option<Cow<'a, str>>,
    #[serde(default)]
    seq: Option<Seq>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPage<'a> {
    room_id: RoomId,
    messages: Vec<Message<'static>>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    from_seq: Seq,
    to_seq: Seq,
    more: bool,
    #[serde(rename = "ref", default)]
    reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLeft {
    room_id: RoomId,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawClosing {
    #[serde(default)]
    retry_after_ms: u64,
}

impl Frame {
    /// Parses a text frame.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let head: Head<'_> = serde_json::from_str(text)?;
        Ok(match &*head.kind {
            "hello" => Self::Hello(serde_json::from_str(text)?),
            "auth_ok" => Self::AuthOk(serde_json::from_str(text)?),
            "join_confirmation" => Self::JoinConfirmation(serde_json::from_str(text)?),
            "previous_messages" => Self::Page(serde_json::from_str::<RawPage<'_>>(text)?.into()),
            "leave_confirmation" => Self::LeaveConfirmation,
            "ack" => Self::Ack(serde_json::from_str(text)?),
            "left" => {
                let RawLeft { room_id, reason } = serde_json::from_str(text)?;
                Self::Left { room_id, reason }
            }
            "pong" => Self::Pong,
            "error" => Self::Error(serde_json::from_str(text)?),
            "closing" => Self::Closing(Duration::from_millis(serde_json::from_str::<RawClosing>(text)?.retry_after_ms)),
            kind => match signals::parse(kind, text)? {
                Some((room, update)) => Self::Signal(room, update),
                None => event(text, head).map_or(Self::Unknown, Self::Event),
            },
        })
    }
}

/// Parses a durable event of a page.
fn parse_event(text: &str) -> Option<Event> {
    event(text, serde_json::from_str(text).ok()?)
}

fn event(text: &str, head: Head<'_>) -> Option<Event> {
    if let Ok(event) = serde_json::from_str(text) {
        return Some(event);
    }
    // A part of it is unreadable, such as a number out of range. The event keeps its place.
    let (room_id, seq) = (head.room_id?.parse().ok()?, head.seq?);
    let kind = EventKind::Unknown { kind: head.kind.into_owned().into(), body: Map::new() };
    Some(Event { room_id, seq, created_at: None, kind })
}

impl From<RawPage<'_>> for Page {
    fn from(raw: RawPage<'_>) -> Self {
        let RawPage { room_id, messages, events, from_seq, to_seq, more, reference } = raw;
        let others = events.iter().filter_map(|event| parse_event(event.get()));
        let mut events: Vec<Event> = messages.into_iter().map(Event::from).chain(others).collect();
        events.sort_unstable_by_key(|event| event.seq);
        Self { room_id, events, from: from_seq, to: to_seq, more, reference }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "0198c0de-7c1a-7000-8000-0123456789ab";

    #[test]
    fn an_unknown_event_keeps_its_number() {
        let text = format!(r#"{{"type":"message_edited","roomId":"{ROOM}","seq":7,"new":[1]}}"#);
        let Frame::Event(event) = Frame::parse(&text).unwrap() else { panic!("no event") };
        assert_eq!((event.room_id.to_string().as_str(), event.seq.get()), (ROOM, 7));
        assert!(matches!(event.kind, EventKind::Unknown { kind, body } if kind == "message_edited" && body["new"][0] == 1));
        let text = format!(r#"{{"type":"message_edited","roomId":"{ROOM}","seq":8,"new":1e999}}"#);
        assert!(matches!(Frame::parse(&text).unwrap(), Frame::Event(event) if event.seq.get() == 8));
        assert!(matches!(Frame::parse(r#"{"type":"presence"}"#).unwrap(), Frame::Unknown));
        assert!(Frame::parse("[]").is_err());
    }

    #[test]
    fn a_page_is_one_order_of_messages_and_other_events() {
        let user = r#"{"id":"0198c0de-7c1a-7000-8000-0123456789ac","username":"ada"}"#;
        let message = |seq: u64| {
            format!(
                r#"{{"id":"0198c0de-7c1a-7000-8000-0123456789ad","roomId":"{ROOM}",
                    "userId":"0198c0de-7c1a-7000-8000-0123456789ac",
                    "seq":{seq},"content":"x","createdAt":"2026-11-22T09:56:10.473Z",
                    "updatedAt":"2026-11-22T09:56:10.473Z","user":{user}}}"#
            )
        };
        let joined = format!(
            r#"{{"type":"member_joined","roomId":"{ROOM}","seq":1,"user":{user},"by":{user},
                "createdAt":"2026-11-22T09:56:10.473Z"}}"#
        );
        let later = format!(r#"{{"type":"pinned","roomId":"{ROOM}","seq":3}}"#);
        let text = format!(
            r#"{{"type":"previous_messages","roomId":"{ROOM}","messages":[{},{}],"events":[{joined},{later}],"fromSeq":1,
                "toSeq":4,"more":false,"ref":"j1"}}"#,
            message(2),
            message(4),
        );
        let Frame::Page(page) = Frame::parse(&text).unwrap() else { panic!("no page") };
        assert_eq!(page.events.iter().map(|event| event.seq.get()).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(page.reference.as_deref(), Some("j1"));
    }

    #[test]
    fn an_unknown_reason_is_no_hindrance() {
        let text = format!(
            r#"{{"type":"join_confirmation","roomId":"{ROOM}","seq":3,"epoch":"e","recovered":false,"reason":"a_new_one",
                "ref":"j1"}}"#
        );
        let Frame::JoinConfirmation(confirmation) = Frame::parse(&text).unwrap() else { panic!("no confirmation") };
        assert!(!confirmation.recovered && confirmation.reason == Some(Open::Unknown("a_new_one".to_owned())));
    }
}
