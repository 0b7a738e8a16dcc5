//! A client's position in a room, and which incoming events are new. No I/O.

use chatsphere_protocol::Open;
use chatsphere_protocol::frames::NotRecovered;
use chatsphere_types::{Epoch, Seq};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::frame::{JoinConfirmation, Page};

/// A position in a room's events. Store it to resume with [`join_since`](crate::Connection::join_since).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything up to here was delivered, or precedes what was requested.
    pub seq: Seq,
    /// The epoch of `seq`; `None` means the current one.
    #[serde(default)]
    pub epoch: Option<Epoch>,
}

impl Cursor {
    /// The position before a room's first event.
    pub const BEGINNING: Self = Self { seq: Seq::ZERO, epoch: None };
}

/// A client's state in one room.
#[derive(Debug)]
pub(crate) struct RoomCursor {
    cursor: Option<Cursor>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    NotJoined,
    /// A join was sent. Events that arrive before its confirmation belong to an earlier join, and are covered by this one.
    Joining {
        reference: String,
    },
    /// The newest messages follow, from any position. Nothing up to `handed_out` is delivered again.
    Newest {
        reference: String,
        epoch: Epoch,
        handed_out: Seq,
    },
    /// Everything after the cursor follows.
    Replaying {
        reference: String,
    },
    /// The cursor is up to date.
    Live,
}

/// The result of a confirmation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) recovered: bool,
    /// Set if the replay does not begin at the requested cursor.
    pub(crate) lost: Option<(Option<NotRecovered>, Cursor)>,
}

/// The events of a page to deliver.
#[derive(Debug, PartialEq)]
pub(crate) enum PageVerdict {
    /// The page belongs to no join in progress.
    Ignore,
    /// An earlier event is missing.
    Gap,
    /// These events, in this order, and whether the room is up to date.
    Deliver { events: Vec<Event>, caught_up: bool },
}

/// What to do with a live event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next event.
    Deliver,
    /// It was delivered, or the join in progress will deliver it.
    Ignore,
    /// An earlier event is missing.
    Gap,
}

impl RoomCursor {
    pub(crate) fn new(cursor: Option<Cursor>) -> Self {
        Self { cursor, phase: Phase::NotJoined }
    }

    pub(crate) fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    pub(crate) fn is_away(&self) -> bool {
        matches!(self.phase, Phase::NotJoined)
    }

    /// Whether a join is in progress.
    pub(crate) fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining { .. } | Phase::Newest { .. } | Phase::Replaying { .. })
    }

    /// Whether the join in progress has this `ref`.
    pub(crate) fn is_joining_by(&self, name: &str) -> bool {
        match &self.phase {
            Phase::Joining { reference } | Phase::Newest { reference, .. } | Phase::Replaying { reference } => {
                reference == name
            }
            Phase::NotJoined | Phase::Live => false,
        }
    }

    /// Records that a join was sent with this `ref` and the current cursor.
    pub(crate) fn joining(&mut self, reference: String) {
        self.phase = Phase::Joining { reference };
    }

    /// Records that the connection was lost, or the room left.
    pub(crate) fn away(&mut self) {
        self.phase = Phase::NotJoined;
    }

    /// Records the confirmation of a join; `None` if it is not the join in progress.
    pub(crate) fn confirmed(&mut self, confirmation: &JoinConfirmation) -> Option<Confirmed> {
        let Phase::Joining { reference } = &self.phase else { return None };
        if confirmation.reference.as_deref() != Some(reference) {
            return None;
        }
        let reference = reference.clone();
        if confirmation.recovered {
            // Without our `since` nothing can be recovered: such an answer starts at the beginning.
            let seq = self.cursor.as_ref().map_or(Seq::ZERO, |cursor| cursor.seq);
            self.cursor = Some(Cursor { seq, epoch: Some(confirmation.epoch.clone()) });
            self.phase = Phase::Replaying { reference };
            return Some(Confirmed { recovered: true, lost: None });
        }
        let lost = self.cursor.clone().map(|cursor| (confirmation.reason.as_ref().and_then(Open::known), cursor));
        let handed_out = match &lost {
            // The epoch is the same, so equal numbers are equal events.
            Some((Some(NotRecovered::TooManyEvents), cursor)) => cursor.seq,
            _ => Seq::ZERO,
        };
        self.phase = Phase::Newest { reference, epoch: confirmation.epoch.clone(), handed_out };
        Some(Confirmed { recovered: false, lost })
    }

    /// Processes a page of earlier events.
    pub(crate) fn page(&mut self, page: Page) -> PageVerdict {
        let (epoch, handed_out) = match &self.phase {
            Phase::Newest { reference, epoch, handed_out } if page.reference.as_ref() == Some(reference) => {
                (Some(epoch.clone()), *handed_out)
            }
            Phase::Replaying { reference } if page.reference.as_ref() == Some(reference) => {
                let Some(cursor) = &self.cursor else { return PageVerdict::Ignore };
                if page.from > cursor.seq.next() {
                    return PageVerdict::Gap;
                }
                (cursor.epoch.clone(), cursor.seq)
            }
            _ => return PageVerdict::Ignore,
        };
        let mut last = handed_out;
        let mut events = page.events;
        events.retain(|event| {
            let is_new = event.seq > last;
            last = last.max(event.seq);
            is_new
        });
        // Only the first page of the newest messages may move the cursor back, because another epoch may have lower numbers.
        let seq = if matches!(self.phase, Phase::Replaying { .. }) { page.to.max(handed_out) } else { page.to };
        self.cursor = Some(Cursor { seq, epoch });
        if let Phase::Newest { handed_out, .. } = &mut self.phase {
            *handed_out = last;
        }
        if !page.more {
            self.phase = Phase::Live;
        }
        PageVerdict::Deliver { events, caught_up: !page.more }
    }

    /// Processes a live event, and advances the cursor if it is the next one.
    pub(crate) fn live(&mut self, seq: Seq) -> Verdict {
        if matches!(self.phase, Phase::NotJoined | Phase::Joining { .. }) {
            return Verdict::Ignore;
        }
        let (Phase::Live, Some(cursor)) = (&self.phase, &mut self.cursor) else {
            // No event is live before the last page of a replay.
            return Verdict::Gap;
        };
        if seq <= cursor.seq {
            Verdict::Ignore
        } else if seq == cursor.seq.next() {
            cursor.seq = seq;
            Verdict::Deliver
        } else {
            Verdict::Gap
        }
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_protocol::frames::EventKind;
    use chatsphere_types::{RoomId, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn event(room: RoomId, seq: u64) -> Event {
        let kind = EventKind::Unknown { kind: "x".into(), body: Default::default() };
        Event { room_id: room, seq: Seq::new(seq), created_at: None, kind }
    }

    fn page(room: RoomId, reference: &str, seqs: &[u64], from: u64, to: u64, more: bool) -> Page {
        Page {
            room_id: room,
            events: seqs.iter().map(|&seq| event(room, seq)).collect(),
            from: Seq::new(from),
            to: Seq::new(to),
            more,
            reference: Some(reference.to_owned()),
        }
    }

    fn confirmation(
        room: RoomId,
        reference: &str,
        seq: u64,
        epoch: &str,
        not: Option<Option<NotRecovered>>,
    ) -> JoinConfirmation {
        JoinConfirmation {
            room_id: room,
            seq: Seq::new(seq),
            epoch: Epoch::from_stored(epoch),
            recovered: not.is_none(),
            reason: not.flatten().map(Open::Known),
            reference: Some(reference.to_owned()),
        }
    }

    fn seqs(verdict: PageVerdict) -> Vec<u64> {
        match verdict {
            PageVerdict::Deliver { events, .. } => events.iter().map(|event| event.seq.get()).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn room() -> RoomId {
        RoomId::new(Timestamp::from_millis(1))
    }

    #[test]
    fn a_first_join_begins_with_the_newest_and_goes_on_live() {
        let room = room();
        let mut cursor = RoomCursor::new(None);
        cursor.joining("j1".to_owned());
        assert_eq!(cursor.live(Seq::new(9)), Verdict::Ignore);
        let confirmed = cursor.confirmed(&confirmation(room, "j1", 9, "e", Some(None))).unwrap();
        assert_eq!(confirmed, Confirmed { recovered: false, lost: None });
        // Messages older than the complete range are included.
        assert_eq!(seqs(cursor.page(page(room, "j1", &[2, 4, 7], 7, 7, true))), [2, 4, 7]);
        assert_eq!(seqs(cursor.page(page(room, "j1", &[8, 9], 8, 9, false))), [8, 9]);
        assert!(matches!(cursor.phase, Phase::Live));
        assert_eq!(cursor.live(Seq::new(9)), Verdict::Ignore);
        assert_eq!(cursor.live(Seq::new(10)), Verdict::Deliver);
        assert_eq!(cursor.live(Seq::new(12)), Verdict::Gap);
        assert_eq!(cursor.cursor().unwrap(), &Cursor { seq: Seq::new(10), epoch: Some(Epoch::from_stored("e")) });
    }

    #[test]
    fn a_replay_hands_out_only_what_is_missing() {
        let room = room();
        let mut cursor = RoomCursor::new(Some(Cursor { seq: Seq::new(3), epoch: None }));
        cursor.joining("j1".to_owned());
        assert!(cursor.confirmed(&confirmation(room, "j0", 6, "e", None)).is_none());
        assert!(cursor.confirmed(&confirmation(room, "j1", 6, "e", None)).unwrap().recovered);
        assert_eq!(cursor.page(page(room, "j0", &[4], 4, 4, true)), PageVerdict::Ignore);
        assert_eq!(seqs(cursor.page(page(room, "j1", &[2, 3, 4], 2, 4, true))), [4]);
        assert_eq!(cursor.page(page(room, "j1", &[6], 6, 6, false)), PageVerdict::Gap);
        assert_eq!(seqs(cursor.page(page(room, "j1", &[], 5, 6, false))), [0u64; 0]);
        assert_eq!(cursor.live(Seq::new(7)), Verdict::Deliver);
    }

    #[test]
    fn another_epoch_starts_anew_and_too_many_events_do_not() {
        let room = room();
        let before = Cursor { seq: Seq::new(100), epoch: Some(Epoch::from_stored("old")) };
        for (reason, expected, seq) in [
            (NotRecovered::EpochChanged, vec![1, 2], 2),
            (NotRecovered::SinceAhead, vec![1, 2], 2),
            (NotRecovered::TooManyEvents, vec![], 2),
        ] {
            let mut cursor = RoomCursor::new(Some(before.clone()));
            cursor.joining("j1".to_owned());
            let confirmed = cursor.confirmed(&confirmation(room, "j1", 2, "new", Some(Some(reason)))).unwrap();
            assert_eq!(confirmed.lost, Some((Some(reason), before.clone())));
            // A connection that is lost here resumes from the same position.
            assert_eq!(cursor.cursor(), Some(&before));
            assert_eq!(seqs(cursor.page(page(room, "j1", &[1, 2], 1, 2, false))), expected);
            assert_eq!(cursor.cursor().unwrap(), &Cursor { seq: Seq::new(seq), epoch: Some(Epoch::from_stored("new")) });
        }
    }

    /// The next step of a server that loses, duplicates and repeats frames.
    #[derive(Debug, Clone)]
    enum Step {
        Append,
        /// The next live frame arrives.
        Live,
        /// The next live frame is lost.
        Lose,
        /// An older live frame arrives again.
        Repeat(u8),
        /// A page of at most this many events arrives.
        Page(u8),
        /// The last page arrives again.
        RepeatPage,
        Reconnect,
        /// The client joins again on the same connection.
        Rejoin,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Append),
            6 => Just(Step::Live),
            1 => Just(Step::Lose),
            2 => any::<u8>().prop_map(Step::Repeat),
            3 => (1u8..5).prop_map(Step::Page),
            1 => Just(Step::RepeatPage),
            1 => Just(Step::Reconnect),
            1 => Just(Step::Rejoin),
        ];
        proptest::collection::vec(step, 0..200)
    }

    /// The server's and the client's state of one room on one connection.
    struct World {
        room: RoomId,
        head: u64,
        client: RoomCursor,
        joins: u32,
        /// The replay in progress: from, to.
        replay: Option<(u64, u64)>,
        /// The last event sent live or replayed on this connection.
        sent: u64,
        last_page: Option<(u64, u64, bool, String)>,
        out: Vec<u64>,
    }

    impl World {
        fn join(&mut self) {
            self.joins += 1;
            let reference = format!("j{}", self.joins);
            let since = self.client.cursor().unwrap().seq.get();
            self.client.joining(reference.clone());
            // Frames of the earlier join that were in transit.
            for seq in [self.sent + 1, self.sent] {
                assert_eq!(self.client.live(Seq::new(seq)), Verdict::Ignore);
            }
            let answer = confirmation(self.room, &reference, self.head, "e", None);
            assert!(self.client.confirmed(&answer).unwrap().recovered);
            self.replay = Some((since, self.head));
        }

        fn live(&mut self, seq: u64) {
            match self.client.live(Seq::new(seq)) {
                Verdict::Deliver => self.out.push(seq),
                Verdict::Ignore => {}
                Verdict::Gap => self.join(),
            }
        }

        fn page(&mut self, from: u64, to: u64, more: bool, reference: String) {
            let all: Vec<u64> = (from..=to).collect();
            match self.client.page(page(self.room, &reference, &all, from, to, more)) {
                PageVerdict::Deliver { events, .. } => self.out.extend(events.iter().map(|event| event.seq.get())),
                PageVerdict::Ignore => {}
                PageVerdict::Gap => self.join(),
            }
            self.last_page = Some((from, to, more, reference));
        }

        fn next_page(&mut self, most: u64) {
            let Some((since, target)) = self.replay else { return };
            let to = target.min(since + most);
            let more = to < target;
            self.replay = more.then_some((to, target));
            self.sent = self.sent.max(to);
            if !more {
                self.sent = target;
            }
            self.page(since + 1, to, more, format!("j{}", self.joins));
        }

        fn take(&mut self, step: Step) {
            match step {
                Step::Append => self.head += 1,
                Step::Live if self.replay.is_none() && self.sent < self.head => {
                    self.sent += 1;
                    self.live(self.sent);
                }
                Step::Lose if self.replay.is_none() && self.sent < self.head => self.sent += 1,
                // Only an event that exists can be repeated.
                Step::Repeat(back) if self.replay.is_none() && self.sent > 0 => {
                    self.live(self.sent.saturating_sub(u64::from(back)).max(1));
                }
                Step::Page(most) => self.next_page(u64::from(most)),
                Step::RepeatPage => {
                    if let Some((from, to, more, reference)) = self.last_page.clone() {
                        self.page(from, to, more, reference);
                    }
                }
                Step::Reconnect => {
                    self.client.away();
                    self.join();
                }
                Step::Rejoin => self.join(),
                Step::Live | Step::Lose | Step::Repeat(_) => {}
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_each_event_comes_out_once_and_in_order(steps in steps(), before in 0u64..20) {
            let mut world = World {
                room: room(),
                head: before,
                client: RoomCursor::new(Some(Cursor::BEGINNING)),
                joins: 0,
                replay: None,
                sent: 0,
                last_page: None,
                out: Vec::new(),
            };
            world.join();
            for step in steps {
                world.take(step);
                let expected: Vec<u64> = (1..=world.out.len() as u64).collect();
                prop_assert_eq!(&world.out, &expected);
            }
            // A final connection without faults delivers everything.
            world.take(Step::Reconnect);
            while world.replay.is_some() {
                world.next_page(3);
            }
            prop_assert_eq!(world.out, (1..=world.head).collect::<Vec<_>>());
        }
    }
}
