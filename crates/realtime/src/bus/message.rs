//! The messages on the bus: encodes them as JSON, of at most the server's `max_payload`, and decodes them.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Event, Signal, SignalSink, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::signing::Signer;
use crate::hub::Hub;

/// Target size of a message in bytes: no event is added beyond it. A single event may be longer.
const TARGET_BYTES: usize = 256 * 1024;
/// The JSON around the events of [`BusMessage::Events`]. Events are appended one by one, so that each is encoded once.
const ENVELOPE: (&[u8], &[u8]) = (br#"{"events":["#, b"]}");

/// A message on the bus, encoded as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusMessage {
    /// Events of rooms of one shard. Events of one room are in the order of `seq`.
    Events(Vec<Event>),
    /// Signals to topics of one shard.
    Signals(Vec<Signal>),
}

impl BusMessage {
    /// Delivers a message of another node to this node's connections.
    pub fn deliver(self, hub: &Hub) {
        match self {
            Self::Events(events) => hub.publish(events.into_iter().map(Arc::new).collect()),
            Self::Signals(signals) => signals.into_iter().for_each(|signal| hub.signal(signal)),
        }
    }
}

/// Encodes events of one shard as messages.
pub(super) struct EventEncoder<'a> {
    remaining: &'a [Arc<Event>],
    /// Events that exceed the maximum size of a message.
    pub(super) too_large: u64,
}

impl<'a> EventEncoder<'a> {
    pub(super) fn new(events: &'a [Arc<Event>]) -> Self {
        Self { remaining: events, too_large: 0 }
    }

    /// The next message, of at most `max_payload` bytes.
    pub(super) fn next(&mut self, signer: &mut Signer, max_payload: usize, now: Timestamp) -> Option<Bytes> {
        let mut message = signer.begin();
        message.extend_from_slice(ENVELOPE.0);
        let empty = message.len();
        while let Some((event, remaining)) = self.remaining.split_first() {
            let before = message.len();
            if before > empty {
                message.push(b',');
            }
            let encoded = serde_json::to_writer(&mut message, &**event).is_ok();
            let fits = encoded && message.len() + ENVELOPE.1.len() <= max_payload;
            if fits && (before == empty || message.len() < TARGET_BYTES) {
                self.remaining = remaining;
                continue;
            }
            message.truncate(before);
            if before > empty {
                break;
            }
            self.too_large += 1;
            self.remaining = remaining;
        }
        if message.len() == empty {
            return None;
        }
        message.extend_from_slice(ENVELOPE.1);
        Some(signer.finish(message, now))
    }
}

/// Encodes a signal. `None` if the message exceeds `max_payload` bytes.
pub(super) fn encode_signal(signal: Signal, signer: &mut Signer, max_payload: usize, now: Timestamp) -> Option<Bytes> {
    let mut message = signer.begin();
    serde_json::to_writer(&mut message, &BusMessage::Signals(vec![signal])).ok()?;
    (message.len() <= max_payload).then(|| signer.finish(message, now))
}

/// Decodes a message; returns with it the number of unreadable events, or 1 if the whole message is. Events of kinds that only
/// a newer version knows are skipped: this node reads them from the store.
pub(super) fn decode(body: &[u8]) -> (Option<BusMessage>, u64) {
    if let Ok(message) = serde_json::from_slice(body) {
        return (Some(message), 0);
    }
    let Ok(RawEvents { events: raw }) = serde_json::from_slice(body) else { return (None, 1) };
    let events: Vec<_> = raw.iter().filter_map(|event| serde_json::from_str(event.get()).ok()).collect();
    let unreadable = raw.len() - events.len();
    (Some(BusMessage::Events(events)), u64::try_from(unreadable).unwrap_or(u64::MAX))
}

#[derive(Deserialize)]
struct RawEvents<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{ConnectionId, Epoch, EventKind, RoomId, Seq};

    use async_nats::Subject;

    use super::super::signing::{BusKeys, Verifier};
    use super::*;
    use crate::interest::SubjectShard;
    use crate::testing::{START, message, user};

    fn event(seq: u64, content: String, name: &str) -> Arc<Event> {
        let (room_id, seq) = (RoomId::new(START), Seq::new(seq));
        let message = message(room_id, seq, user(name), &content);
        Arc::new(Event { room_id, seq, at: START, kind: EventKind::Message(message) })
    }

    /// Publishes events; returns those that another node reads, and the number left out.
    fn publish(events: &[Arc<Event>], most: usize) -> (Vec<Event>, u64) {
        let keys = BusKeys::derive(&[b"user"], &[b"client"]);
        let subject = Subject::from_static("subject");
        let mut signer = Signer::new(keys.clone(), ConnectionId::new(START), Epoch::from_stored("e"), subject.clone());
        let mut verifier = Verifier::new(keys, ConnectionId::new(START), Epoch::from_stored("e"));
        let (mut encoder, mut received) = (EventEncoder::new(events), Vec::new());
        while let Some(message) = encoder.next(&mut signer, most, START) {
            assert!(message.len() <= most, "{} of {most}", message.len());
            let verified = verifier.verify(SubjectShard::all().next().unwrap(), &subject, &message, START).unwrap();
            let (Some(BusMessage::Events(events)), 0) = decode(verified.body) else { panic!("no events") };
            received.extend(events);
        }
        (received, encoder.too_large)
    }

    fn same(received: &[Event], published: &[Arc<Event>]) -> bool {
        received.iter().eq(published.iter().map(|event| &**event))
    }

    #[test]
    fn a_commit_is_reported_whole() {
        // JSON escapes each of these characters with six bytes.
        let events: Vec<_> = (1..=100).map(|seq| event(seq, "\u{1}".repeat(32 * 1024), "ada")).collect();
        let (read, left_out) = publish(&events, 1024 * 1024);
        assert!(same(&read, &events));
        assert_eq!(left_out, 0);
        let names: Vec<_> = (1..=5_000).map(|seq| event(seq, "x".to_owned(), &"\u{1}".repeat(1_000))).collect();
        assert!(same(&publish(&names, 1024 * 1024).0, &names));
        assert!(publish(&[], 1024 * 1024).0.is_empty());
    }

    #[test]
    fn an_unknown_kind_takes_no_other_event_with_it() {
        let known = [1, 3].map(|seq| event(seq, "x".to_owned(), "ada"));
        let unknown = serde_json::to_string(&known[0]).unwrap().replace("\"Message\":", "\"MessagePinned\":");
        let json = |event| serde_json::to_string(event).unwrap();
        let message = format!(r#"{{"events":[{},{unknown},{}]}}"#, json(&known[0]), json(&known[1]));
        let (Some(BusMessage::Events(events)), 1) = decode(message.as_bytes()) else { panic!("no events") };
        assert!(same(&events, &known));
        assert!(matches!(decode(b"[]"), (None, 1)));
    }

    #[test]
    fn whatever_a_server_takes_is_filled_and_never_exceeded() {
        let events: Vec<_> = (1..=40_usize).map(|seq| event(seq as u64, "é\"".repeat(seq * seq), "ada")).collect();
        for most in [1_000, 1_024, 4_096, 8_000, 64 * 1024] {
            let (read, left_out) = publish(&events, most);
            assert_eq!(read.len() as u64 + left_out, 40);
            // The events arrive in order, and all of them are shorter than those left out.
            assert!(same(&read, &events[..read.len()]), "{most}");
        }
        assert_eq!(publish(&events, 200), (Vec::new(), 40));
    }
}
