//! Splits events into bus messages of at most the server's `max_payload`, and parses bus messages.

use std::sync::Arc;

use chatsphere_core::{Event, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::BusMessage;
use super::seal::Sealer;

/// Target size of a message in bytes: no event is added beyond it. A single event may be longer.
const TARGET_BYTES: usize = 256 * 1024;
/// The JSON around the events: [`super::BusMessage::Events`].
const ENVELOPE: (&[u8], &[u8]) = (br#"{"events":["#, b"]}");

/// An iterator-like splitter of one shard's events into messages.
pub(super) struct Parts<'a> {
    rest: &'a [Arc<Event>],
    /// Events that exceed the maximum size of a message.
    pub(super) too_large: u64,
}

impl<'a> Parts<'a> {
    pub(super) fn of(events: &'a [Arc<Event>]) -> Self {
        Self { rest: events, too_large: 0 }
    }

    /// The next message, of at most `most` bytes (the server's `max_payload`).
    pub(super) fn next(&mut self, sealer: &mut Sealer, most: usize, now: Timestamp) -> Option<bytes::Bytes> {
        let mut message = sealer.begin();
        message.extend_from_slice(ENVELOPE.0);
        let empty = message.len();
        while let Some((event, after)) = self.rest.split_first() {
            let mark = message.len();
            if mark > empty {
                message.push(b',');
            }
            let encoded = serde_json::to_writer(&mut message, &**event).is_ok();
            let fits = encoded && message.len() + ENVELOPE.1.len() <= most;
            if fits && (mark == empty || message.len() < TARGET_BYTES) {
                self.rest = after;
                continue;
            }
            message.truncate(mark);
            if mark > empty {
                break;
            }
            self.too_large += 1;
            self.rest = after;
        }
        if message.len() == empty {
            return None;
        }
        message.extend_from_slice(ENVELOPE.1);
        Some(sealer.finish(message, now))
    }
}

/// Parses a message; returns with it the number of parts that are unreadable. Events of kinds that only a newer version knows
/// are skipped: this node reads them from the store.
pub(super) fn read(body: &[u8]) -> (Option<BusMessage>, u64) {
    if let Ok(message) = serde_json::from_slice(body) {
        return (Some(message), 0);
    }
    let Ok(RawEvents { events: told }) = serde_json::from_slice(body) else { return (None, 1) };
    let events: Vec<_> = told.iter().filter_map(|event| serde_json::from_str(event.get()).ok()).collect();
    let unreadable = told.len() - events.len();
    (Some(BusMessage::Events(events)), u64::try_from(unreadable).unwrap_or(u64::MAX))
}

#[derive(Deserialize)]
struct RawEvents<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{
        ConnectionId, Content, Epoch, EventKind, Message, MessageId, RoomId, Seq, UserId, UserRef, Username,
    };

    use async_nats::Subject;

    use super::super::seal::{BusKeys, Opener};
    use super::*;
    use crate::interest::Shard;

    const AT: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    fn event(seq: u64, content: String, name: &str) -> Arc<Event> {
        let (room_id, seq) = (RoomId::new(AT), Seq::new(seq));
        let message = Message {
            id: MessageId::new(AT),
            room_id,
            author: UserRef { id: UserId::new(AT), username: Username::from_stored(name.to_owned()) },
            seq,
            content: Content::from_stored(content),
            client_message_id: None,
            created_at: AT,
            updated_at: AT,
            change: None,
        };
        Arc::new(Event { room_id, seq, at: AT, kind: EventKind::Message(message) })
    }

    /// Publishes events; returns those that another node reads, and the number left out.
    fn tell(events: &[Arc<Event>], most: usize) -> (Vec<Event>, u64) {
        let keys = BusKeys::derive(&[b"user"], &[b"client"]);
        let subject = Subject::from_static("subject");
        let mut sealer = Sealer::new(keys.clone(), ConnectionId::new(AT), Epoch::from_stored("e"), subject.clone());
        let mut opener = Opener::new(keys, ConnectionId::new(AT), Epoch::from_stored("e"));
        let (mut parts, mut heard) = (Parts::of(events), Vec::new());
        while let Some(message) = parts.next(&mut sealer, most, AT) {
            assert!(message.len() <= most, "{} of {most}", message.len());
            let opened = opener.open(Shard::all().next().unwrap(), &subject, &message, AT).unwrap();
            let (Some(BusMessage::Events(events)), 0) = read(opened.body) else { panic!("no events") };
            heard.extend(events);
        }
        (heard, parts.too_large)
    }

    fn same(read: &[Event], told: &[Arc<Event>]) -> bool {
        read.iter().eq(told.iter().map(|event| &**event))
    }

    #[test]
    fn a_commit_is_told_whole() {
        // JSON escapes each of these characters with six bytes.
        let events: Vec<_> = (1..=100).map(|seq| event(seq, "\u{1}".repeat(32 * 1024), "ada")).collect();
        let (read, left_out) = tell(&events, 1024 * 1024);
        assert!(same(&read, &events));
        assert_eq!(left_out, 0);
        let names: Vec<_> = (1..=5_000).map(|seq| event(seq, "x".to_owned(), &"\u{1}".repeat(1_000))).collect();
        assert!(same(&tell(&names, 1024 * 1024).0, &names));
        assert!(tell(&[], 1024 * 1024).0.is_empty());
    }

    #[test]
    fn an_unknown_kind_takes_no_other_event_with_it() {
        let known = [1, 3].map(|seq| event(seq, "x".to_owned(), "ada"));
        let unknown = serde_json::to_string(&known[0]).unwrap().replace("\"Message\":", "\"MessagePinned\":");
        let json = |event| serde_json::to_string(event).unwrap();
        let message = format!(r#"{{"events":[{},{unknown},{}]}}"#, json(&known[0]), json(&known[1]));
        let (Some(BusMessage::Events(events)), 1) = read(message.as_bytes()) else { panic!("no events") };
        assert!(same(&events, &known));
        assert!(matches!(read(b"[]"), (None, 1)));
    }

    #[test]
    fn whatever_a_server_takes_is_filled_and_never_exceeded() {
        let events: Vec<_> = (1..=40_usize).map(|seq| event(seq as u64, "é\"".repeat(seq * seq), "ada")).collect();
        for most in [1_000, 1_024, 4_096, 8_000, 64 * 1024] {
            let (read, left_out) = tell(&events, most);
            assert_eq!(read.len() as u64 + left_out, 40);
            // The events arrive in order, and all of them are shorter than those left out.
            assert!(same(&read, &events[..read.len()]), "{most}");
        }
        assert_eq!(tell(&events, 200), (Vec::new(), 40));
    }
}
