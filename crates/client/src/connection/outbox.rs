//! Messages that are not acknowledged yet. No I/O.

use std::collections::{HashSet, VecDeque};

use chatsphere_core::{RoomId, UserId};
use chatsphere_protocol::frames::{ClientFrame, Incoming};
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
    /// A message of the caller.
    pub fn new(content: impl Into<String>) -> Self {
        Self { content: content.into(), client_message_id: None, user: None }
    }

    /// Gives it an id of one's own, unique for one author in one room, for ever. Without one it gets a random one: either way
    /// it is stored once, however often it is sent.
    #[must_use]
    pub fn client_message_id(mut self, id: impl Into<String>) -> Self {
        self.client_message_id = Some(id.into());
        self
    }

    /// Posts it in the name of another user; for CLIENT tokens.
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

/// Messages in the order in which they were given, each with a `T` that is told what became of it.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    /// Ascending by number.
    entries: VecDeque<Entry<T>>,
    last_number: u64,
    in_flight: usize,
    most_in_flight: usize,
    /// Whether each message of a room waits for the answer to the one before.
    ordered: bool,
    /// Nothing is sent before this moment.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    room: RoomId,
    message: OutgoingMessage,
    reply: T,
    in_flight: bool,
    /// Whether it ever was.
    sent: bool,
}

impl<T> Outbox<T> {
    pub(crate) fn new(ordered: bool) -> Self {
        Self { entries: VecDeque::new(), last_number: 0, in_flight: 0, most_in_flight: 1, ordered, paused_until: None }
    }

    /// How many may wait for their answer at once: beyond what the server answers at a time it would stop reading.
    pub(crate) fn set_most_in_flight(&mut self, most: usize) {
        self.most_in_flight = most.max(1);
    }

    pub(crate) fn push(&mut self, room: RoomId, mut message: OutgoingMessage, reply: T) {
        message.client_message_id.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>()));
        self.last_number += 1;
        self.entries.push_back(Entry { number: self.last_number, room, message, reply, in_flight: false, sent: false });
    }

    /// The next message to send, in the order given, and its number. One that was never sent and that nobody waits for any
    /// more is dropped.
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

    /// Where the next message to send is. The server judges each message by itself: with two of a room under way it may refuse
    /// the first for a time and store the second.
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

    /// The message is answered: it leaves, and whoever waits is returned.
    pub(crate) fn answered(&mut self, number: u64) -> Option<T> {
        let index = self.position(number)?;
        let entry = self.entries.remove(index)?;
        self.in_flight -= usize::from(entry.in_flight);
        Some(entry.reply)
    }

    /// The message may succeed later: it waits, and all others with it, so that they keep their order.
    pub(crate) fn postponed(&mut self, number: u64, until: Instant) {
        let Some(entry) = self.position(number).and_then(|index| self.entries.get_mut(index)) else { return };
        if std::mem::take(&mut entry.in_flight) {
            self.in_flight -= 1;
        }
        self.paused_until = Some(self.paused_until.map_or(until, |paused| paused.max(until)));
    }

    /// The connection is gone: whatever was under way is sent again.
    pub(crate) fn disconnected(&mut self) {
        for entry in &mut self.entries {
            entry.in_flight = false;
        }
        self.in_flight = 0;
    }

    /// When there is something to send again, if that is later.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.entries.len() > self.in_flight)
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.number).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use chatsphere_core::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn outbox(most: usize) -> Outbox<usize> {
        let mut outbox = Outbox::new(true);
        outbox.set_most_in_flight(most);
        outbox
    }

    fn room() -> RoomId {
        RoomId::new(Timestamp::from_millis(1))
    }

    fn id(text: &str) -> String {
        match Incoming::parse(text).unwrap().frame {
            ClientFrame::Message { client_message_id, .. } => client_message_id.unwrap().into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_sent_again_bears_the_same_id() {
        let (now, mut outbox) = (Instant::now(), Outbox::new(false));
        outbox.set_most_in_flight(8);
        outbox.push(room(), "a".into(), 1);
        outbox.push(room(), OutgoingMessage::new("b").client_message_id("own"), 2);
        let first: Vec<_> = std::iter::from_fn(|| outbox.next(now, |_| false)).collect();
        assert_eq!((first.len(), id(&first[1].1)), (2, "own".to_owned()));
        outbox.disconnected();
        let second: Vec<_> = std::iter::from_fn(|| outbox.next(now, |_| false)).collect();
        assert_eq!(first, second);
        assert_eq!(outbox.answered(first[0].0), Some(1));
        assert_eq!(outbox.answered(first[0].0), None);
    }

    #[test]
    fn no_more_than_the_server_answers_at_once() {
        let (now, mut outbox) = (Instant::now(), outbox(2));
        (0..5).for_each(|reply| outbox.push(room(), "x".into(), reply));
        let (first, _) = outbox.next(now, |_| false).unwrap();
        outbox.next(now, |_| false).unwrap();
        assert!(outbox.next(now, |_| false).is_none());
        outbox.answered(first);
        assert!(outbox.next(now, |_| false).is_some());
    }

    #[test]
    fn in_a_room_each_waits_for_the_answer_before() {
        let (now, mut outbox) = (Instant::now(), outbox(8));
        let (one, other) = (room(), room());
        for (room, reply) in [(one, 1), (one, 2), (other, 3), (one, 4), (other, 5)] {
            outbox.push(room, "x".into(), reply);
        }
        let due = |outbox: &mut Outbox<usize>, now| -> Vec<u64> {
            std::iter::from_fn(|| outbox.next(now, |_| false)).map(|(number, _)| number).collect()
        };
        assert_eq!(due(&mut outbox, now), [1, 3]);
        // Refused for a time: it goes before what came after it.
        let later = now + Duration::from_secs(1);
        outbox.postponed(1, later);
        outbox.answered(3);
        assert!(due(&mut outbox, now).is_empty());
        assert_eq!(due(&mut outbox, later), [1, 5]);
        outbox.answered(1);
        assert_eq!(due(&mut outbox, later), [2]);
        // Refused for good, or lost with the connection.
        outbox.answered(2);
        assert_eq!(due(&mut outbox, later), [4]);
        outbox.disconnected();
        assert_eq!(due(&mut outbox, later), [4, 5]);
    }

    #[test]
    fn a_wait_holds_all_and_keeps_their_order() {
        let (now, mut outbox) = (Instant::now(), outbox(2));
        (0..3).for_each(|reply| outbox.push(room(), "x".into(), reply));
        let (first, _) = outbox.next(now, |_| false).unwrap();
        let later = now + Duration::from_secs(1);
        outbox.postponed(first, later);
        assert!(outbox.next(now, |_| false).is_none());
        assert_eq!(outbox.wakes_at(), Some(later));
        assert_eq!(outbox.next(later, |_| false).unwrap().0, first);
    }

    #[test]
    fn what_was_given_up_before_it_was_sent_is_not_sent() {
        let (now, mut outbox) = (Instant::now(), outbox(8));
        (0..3).for_each(|reply| outbox.push(room(), "x".into(), reply));
        let (first, _) = outbox.next(now, |reply| *reply == 1).unwrap();
        // Once sent, it may be stored: it goes on until it is answered.
        outbox.disconnected();
        assert_eq!(outbox.next(now, |_| true).unwrap().0, first);
        assert!(outbox.next(now, |reply| *reply != 2).is_some_and(|(number, _)| number == 3));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Send,
        Answer(u8),
        Postpone(u8),
        Disconnect,
    }

    proptest! {
        #[test]
        fn every_message_is_answered_once_under_one_id_and_in_order(
            steps in proptest::collection::vec(
                prop_oneof![
                    Just(Step::Push), Just(Step::Send), any::<u8>().prop_map(Step::Answer),
                    any::<u8>().prop_map(Step::Postpone), Just(Step::Disconnect),
                ],
                0..200,
            ),
            most in 1usize..5,
        ) {
            let (mut now, mut outbox) = (Instant::now(), outbox(most));
            let (mut pushed, mut flying, mut ids, mut answered) = (0, Vec::new(), HashMap::new(), Vec::new());
            let rooms = [room(), room()];
            let finish = std::iter::repeat_n([Step::Disconnect, Step::Send, Step::Answer(0)], 200).flatten();
            for step in steps.into_iter().chain(finish) {
                match step {
                    Step::Push => { pushed += 1; outbox.push(rooms[pushed % 2], "x".into(), pushed); }
                    Step::Send => {
                        now += Duration::from_secs(1);
                        if let Some((number, text)) = outbox.next(now, |_| false) {
                            prop_assert!(!flying.contains(&number));
                            prop_assert_eq!(ids.entry(number).or_insert_with(|| id(&text)).clone(), id(&text));
                            flying.push(number);
                        }
                    }
                    Step::Answer(which) if !flying.is_empty() => {
                        let number = flying.remove(usize::from(which) % flying.len());
                        answered.extend(outbox.answered(number));
                    }
                    Step::Postpone(which) if !flying.is_empty() => {
                        let number = flying.remove(usize::from(which) % flying.len());
                        outbox.postponed(number, now + Duration::from_millis(500));
                    }
                    Step::Disconnect => { flying.clear(); outbox.disconnected(); }
                    Step::Answer(_) | Step::Postpone(_) => {}
                }
                prop_assert!(flying.len() <= most);
            }
            for room in 0..2 {
                prop_assert!(answered.iter().filter(|reply| *reply % 2 == room).is_sorted(), "{:?}", answered);
            }
            answered.sort_unstable();
            prop_assert_eq!(answered, (1..=pushed).collect::<Vec<_>>());
        }
    }
}
