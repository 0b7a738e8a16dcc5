//! Unacknowledged messages. No I/O.

use std::collections::{HashSet, VecDeque};

use chatsphere_protocol::frames::{ClientFrame, Incoming};
use chatsphere_types::{RoomId, UserId};
use tokio::time::Instant;

use super::state::encode;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    content: String,
    client_message_id: Option<String>,
    user: Option<UserId>,
}

impl OutgoingMessage {
    /// A message from the caller.
    pub fn new(content: impl Into<String>) -> Self {
        Self { content: content.into(), client_message_id: None, user: None }
    }

    /// Sets the message's own id, which must be unique per author and room, for ever. The default is a random id. In both cases
    /// the message is stored once, however often it is sent.
    #[must_use]
    pub fn client_message_id(mut self, id: impl Into<String>) -> Self {
        self.client_message_id = Some(id.into());
        self
    }

    /// Posts the message as another user; for CLIENT tokens.
    #[must_use]
    pub fn on_behalf_of(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }
}

impl From<&str> for OutgoingMessage {
    fn from(content: &str) -> Self {
        Self::new(content)
    }
}

impl From<String> for OutgoingMessage {
    fn from(content: String) -> Self {
        Self::new(content)
    }
}

/// Messages in the order of the calls, each with a waiter `T`.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    /// In ascending order.
    entries: VecDeque<Entry<T>>,
    last_number: u64,
    in_flight: usize,
    most_in_flight: usize,
    /// Whether each message of a room waits for the previous acknowledgement.
    ordered: bool,
    /// Nothing is sent before this time.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    room: RoomId,
    message: OutgoingMessage,
    reply: T,
    in_flight: bool,
    /// Whether it was ever sent.
    sent: bool,
}

impl<T> Outbox<T> {
    pub(crate) fn new(ordered: bool) -> Self {
        Self { entries: VecDeque::new(), last_number: 0, in_flight: 0, most_in_flight: 1, ordered, paused_until: None }
    }

    /// Sets the maximum number of unacknowledged messages: beyond it the server would stop reading.
    pub(crate) fn set_most_in_flight(&mut self, most: usize) {
        self.most_in_flight = most.max(1);
    }

    pub(crate) fn push(&mut self, room: RoomId, mut message: OutgoingMessage, reply: T) {
        message.client_message_id.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>()));
        self.last_number += 1;
        self.entries.push_back(Entry { number: self.last_number, room, message, reply, in_flight: false, sent: false });
    }

    /// The next message to send, in order, and its number. A message that was never sent and whose waiter is gone is dropped.
    pub(crate) fn next(&mut self, now: Instant, is_abandoned: impl Fn(&T) -> bool) -> Option<(u64, String)> {
        if self.in_flight >= self.most_in_flight || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        loop {
            let index = self.next_index()?;
            let entry = self.entries.get_mut(index)?;
            if !entry.sent && is_abandoned(&entry.reply) {
                self.entries.remove(index);
                continue;
            }
            entry.in_flight = true;
            entry.sent = true;
            self.in_flight += 1;
            let (room, user) = (entry.room.to_string(), entry.message.user.map(|user| user.to_string()));
            let incoming = Incoming {
                reference: Some(format!("m{}", entry.number).into()),
                frame: ClientFrame::Message {
                    room_id: room.into(),
                    content: (&*entry.message.content).into(),
                    client_message_id: entry.message.client_message_id.as_deref().map(Into::into),
                    user_id: user.map(Into::into),
                },
            };
            let (number, text) = (entry.number, encode(&incoming));
            if let Some(text) = text {
                return Some((number, text));
            }
            self.answered(number);
        }
    }

    /// The index of the next message to send. The server checks each message separately: of two messages in flight for a room
    /// it might temporarily reject the first and store the second.
    fn next_index(&self) -> Option<usize> {
        let mut busy = HashSet::new();
        self.entries.iter().position(|entry| {
            if entry.in_flight {
                busy.insert(entry.room);
            }
            let waits = self.ordered && busy.contains(&entry.room);
            !entry.in_flight && !waits
        })
    }

    /// Removes an answered message and returns its waiter.
    pub(crate) fn answered(&mut self, number: u64) -> Option<T> {
        let index = self.position(number)?;
        let entry = self.entries.remove(index)?;
        self.in_flight -= usize::from(entry.in_flight);
        Some(entry.reply)
    }

    /// Pauses after a temporary error. All messages wait, so that their order is kept.
    pub(crate) fn postponed(&mut self, number: u64, until: Instant) {
        let Some(entry) = self.position(number).and_then(|index| self.entries.get_mut(index)) else { return };
        if std::mem::take(&mut entry.in_flight) {
            self.in_flight -= 1;
        }
        self.paused_until = Some(self.paused_until.map_or(until, |paused| paused.max(until)));
    }

    /// Marks all messages in flight to be sent again after a disconnect.
    pub(crate) fn disconnected(&mut self) {
        for entry in &mut self.entries {
            entry.in_flight = false;
        }
        self.in_flight = 0;
    }

    /// When the pause ends, if it is in the future.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.entries.len() > self.in_flight)
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.number).ok()
    }
}

#[cfg(test)]
mod tests;
