use std::collections::HashMap;

use chatsphere_client::bodies::Message;
use chatsphere_client::{Client, MessageId, RoomId, Seq};

use super::sender::Acknowledged;
use super::watcher::Digest;
use crate::error::RunError;
use crate::setup::patiently;

const PAGE: Option<u32> = Some(200);
/// Maximum number of reported violations per room.
const MAX_TOLD: usize = 10;

/// A room's history over REST.
pub(super) struct RoomHistory {
    pub(super) room: RoomId,
    /// The newest event.
    pub(super) head: Seq,
    pub(super) digest: Digest,
    messages: HashMap<MessageId, Message<'static>>,
    violations: Vec<String>,
}

impl RoomHistory {
    /// Reads the history page by page.
    pub(super) async fn read(client: &Client, room: RoomId) -> Result<Self, RunError> {
        let mut history =
            Self { room, head: Seq::ZERO, digest: Digest::default(), messages: HashMap::new(), violations: Vec::new() };
        history.read_messages(client).await?;
        history.read_events(client).await?;
        let told = patiently("reading a room", || client.room(room)).await?.room;
        if told.seq != history.head {
            history.violations.push(format!("its events end at {}, and it says {}", history.head, told.seq));
        }
        let count = told.count.map(|count| count.messages);
        if count != Some(history.messages.len() as u64) {
            history.violations.push(format!("it has {} messages, and it says {count:?}", history.messages.len()));
        }
        Ok(history)
    }

    async fn read_messages(&mut self, client: &Client) -> Result<(), RunError> {
        let mut page = patiently("reading messages", || client.messages_after(self.room, Seq::ZERO, PAGE)).await?;
        let mut last = Seq::ZERO;
        loop {
            for message in page.items {
                if message.seq <= last {
                    self.violations.push(format!("message {} comes after {last} in its history", message.seq));
                }
                last = message.seq;
                if let Some(twice) = self.messages.insert(message.id, message) {
                    self.violations.push(format!("message {} is there twice", twice.id));
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            page = patiently("reading messages", || client.follow(&next)).await?;
        }
    }

    async fn read_events(&mut self, client: &Client) -> Result<(), RunError> {
        let mut page = patiently("reading events", || client.events(self.room, Seq::ZERO, PAGE)).await?;
        loop {
            for event in page.items {
                if event.seq != self.head.next() {
                    self.violations.push(format!("event {} comes after {} in its history", event.seq, self.head));
                }
                self.head = event.seq;
                self.digest.add(&event);
            }
            let Some(next) = page.next else { return Ok(()) };
            page = patiently("reading events", || client.follow(&next)).await?;
        }
    }

    /// Checks that the history contains every acknowledged message once, as sent, and nothing else.
    pub(super) fn check(&self, acknowledged: &[Acknowledged], violations: &mut Vec<String>) {
        let mut wrong = self.violations.clone();
        let mut expected = 0;
        for sent in acknowledged.iter().filter(|sent| sent.room == self.room) {
            expected += 1;
            let Acknowledged { id, seq, client_message_id, content, .. } = sent;
            match self.messages.get(id) {
                None => wrong.push(format!("message {client_message_id}, acknowledged as {id} at {seq}, is lost")),
                Some(message) if message.seq != *seq || message.content != *content => {
                    wrong.push(format!("message {client_message_id}, acknowledged as {id} at {seq}, is at {}", message.seq));
                }
                Some(_) => {}
            }
        }
        if self.messages.len() != expected {
            wrong.push(format!("{expected} messages were acknowledged, {} are stored", self.messages.len()));
        }
        violations.extend(wrong.into_iter().take(MAX_TOLD).map(|what| format!("room {}: {what}", self.room)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(stored: &[(MessageId, u64)], room: RoomId) -> RoomHistory {
        let message = |id: MessageId, seq: u64| -> Message<'static> {
            let (at, user) = ("2026-11-22T09:56:10.473Z", id.to_string());
            let json = serde_json::json!({"id": id, "roomId": room, "userId": user, "seq": seq, "content": "x",
                "createdAt": at, "updatedAt": at, "user": {"id": user, "username": "ada"}});
            serde_json::from_value(json).unwrap()
        };
        let messages = stored.iter().map(|(id, seq)| (*id, message(*id, *seq))).collect();
        RoomHistory { room, head: Seq::ZERO, digest: Digest::default(), messages, violations: Vec::new() }
    }

    #[test]
    fn a_lost_a_moved_and_a_doubled_message_are_reported() {
        let id = |number: u8| format!("0198c0de-7c1a-7000-8000-0000000000{number:02x}").parse::<MessageId>().unwrap();
        let room: RoomId = "0198c0de-7c1a-7000-8000-0123456789ab".parse().unwrap();
        let sent = |id: MessageId, seq: u64| Acknowledged {
            room,
            id,
            seq: Seq::new(seq),
            client_message_id: "c".to_owned(),
            content: "x".to_owned(),
        };
        let acknowledged = [sent(id(1), 1), sent(id(2), 2)];
        for (stored, told) in [
            (vec![(id(1), 1), (id(2), 2)], 0),
            (vec![(id(1), 1)], 2),
            (vec![(id(1), 1), (id(2), 3)], 1),
            (vec![(id(1), 1), (id(2), 2), (id(3), 3)], 1),
        ] {
            let mut violations = Vec::new();
            history(&stored, room).check(&acknowledged, &mut violations);
            assert_eq!(violations.len(), told, "{violations:?}");
        }
    }
}
