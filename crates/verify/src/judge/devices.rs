//! Judges the view of each client: it must get every event that it is entitled to, once, in order, and nothing else.

use std::collections::HashMap;

use chatsphere_client::NotRecovered;

use super::memberships::{Memberships, Removal, place};
use super::record::{DeviceRecord, Event, Joined, Page, Record, Seen, Tick, What};
use super::view::View;
use super::violation::{Rule, Violations};

pub(super) fn judge(record: &Record, memberships: &Memberships, violations: &mut Violations) {
    let acked = AckedBy::read(record);
    for (number, device) in record.devices.iter().enumerate() {
        let views = record.rooms.iter().map(|_| View::default()).collect();
        let mut judge =
            DeviceJudge { record, memberships, acked: &acked, number, device, views, replay_events: u64::MAX, violations };
        device.seen.iter().for_each(|seen| judge.take(seen));
        judge.finish();
    }
}

/// The newest event acknowledged in a room at each time.
struct AckedBy(HashMap<usize, Vec<(Tick, u64)>>);

impl AckedBy {
    fn read(record: &Record) -> Self {
        let mut rooms: HashMap<usize, Vec<(Tick, u64)>> = HashMap::new();
        for seen in record.devices.iter().flat_map(|device| &device.seen) {
            if let What::Acked { room, seq, .. } = &seen.what {
                rooms.entry(*room).or_default().push((seen.at, *seq));
            }
        }
        for acks in rooms.values_mut() {
            acks.sort_unstable();
            let mut newest = 0;
            for (_, seq) in acks {
                newest = newest.max(*seq);
                *seq = newest;
            }
        }
        Self(rooms)
    }

    fn at(&self, room: usize, tick: Tick) -> u64 {
        let acks = self.0.get(&room).map_or(&[][..], Vec::as_slice);
        let before = acks.partition_point(|(at, _)| *at < tick);
        before.checked_sub(1).and_then(|place| acks.get(place)).map_or(0, |(_, seq)| *seq)
    }
}

/// Replays one client's observations.
struct DeviceJudge<'a> {
    record: &'a Record,
    memberships: &'a Memberships,
    acked: &'a AckedBy,
    number: usize,
    device: &'a DeviceRecord,
    views: Vec<View>,
    replay_events: u64,
    violations: &'a mut Violations,
}

impl DeviceJudge<'_> {
    fn take(&mut self, seen: &Seen) {
        match &seen.what {
            What::Connected { replay_events } => {
                self.replay_events = *replay_events;
                self.end_all();
            }
            What::Ended { .. } => self.end_all(),
            What::Joined(joined) => self.joined(seen, joined),
            What::JoinRefused { room, asked, code } => self.join_refused(seen, *room, *asked, code),
            What::Settled { upto } => {
                for session in self.views.iter_mut().filter_map(|view| view.session.as_mut()) {
                    if session.asked < *upto {
                        session.settled.get_or_insert(seen.at);
                    }
                }
            }
            What::Page(page) => self.page(seen, page),
            What::Event { room, event } => self.event(seen, *room, event),
            What::Left { room, reason } => self.left(seen, *room, reason),
            What::LeftByItself { room } => {
                if let Some(view) = self.views.get_mut(*room) {
                    view.end();
                }
            }
            What::Strange { text } => self.complain(Rule::Strange, seen, None, text.clone()),
            What::Sent { .. } | What::Acked { .. } | What::Refused { .. } => {}
            What::EditSent { .. } | What::Edited { .. } | What::EditRefused { .. } => {}
        }
    }

    fn end_all(&mut self) {
        for view in &mut self.views {
            view.end();
        }
    }

    fn joined(&mut self, seen: &Seen, joined: &Joined) {
        let (room, user) = (joined.room, self.device.user);
        if self.memberships.certainly_out(room, user, joined.asked, seen.at) {
            self.complain(
                Rule::LetIn,
                seen,
                Some(room),
                format!("joined at {}, though its user was no member then", joined.seq),
            );
        }
        let acked = self.acked.at(room, joined.asked);
        if joined.seq < acked {
            let text = format!("joined at {}, though {acked} was acknowledged before it asked", joined.seq);
            self.complain(Rule::Replay, seen, Some(room), text);
        }
        let far = joined.seq.saturating_sub(joined.since) > self.replay_events;
        match (joined.recovered, joined.reason) {
            (true, None) if joined.since <= joined.seq => {}
            (false, Some(NotRecovered::TooManyEvents)) if far => {}
            (recovered, reason) => {
                let (since, seq) = (joined.since, joined.seq);
                let text = format!("joined since {since}: recovered is {recovered} ({reason:?}), and the room is at {seq}");
                self.complain(Rule::Replay, seen, Some(room), text);
            }
        }
        let have = self.views.get(room).map_or(0, |view| view.have);
        if joined.since > have {
            let text = format!("this checker asked since {}, and had {have}: fix the checker", joined.since);
            self.complain(Rule::Strange, seen, Some(room), text);
        }
        if let Some(view) = self.views.get_mut(room) {
            view.join(joined);
        }
    }

    fn join_refused(&mut self, seen: &Seen, room: usize, asked: Tick, code: &str) {
        if code != "not_a_member" {
            self.complain(Rule::Refused, seen, Some(room), format!("a join was refused with {code}"));
        } else if self.memberships.certainly_in(room, self.device.user, asked, seen.at) {
            let text = "a join was refused, though its user was a member throughout".to_owned();
            self.complain(Rule::Refused, seen, Some(room), text);
        }
    }

    fn page(&mut self, seen: &Seen, page: &Page) {
        let before = self.views.get(page.room).map_or(0, |view| view.have);
        let wrong = self.views.get_mut(page.room).and_then(|view| view.page(page));
        if let Some(wrong) = wrong {
            self.complain(Rule::Replay, seen, Some(page.room), format!("{wrong}; it had everything up to {before}"));
        }
        for event in page.messages.iter().chain(&page.others) {
            self.compare(seen, page.room, event, "replayed");
        }
    }

    fn event(&mut self, seen: &Seen, room: usize, event: &Event) {
        self.compare(seen, room, event, "sent live");
        let Some(view) = self.views.get_mut(room) else { return };
        let have = view.have;
        let Some(session) = &mut view.session else {
            let text = format!("got {event}, though the connection does not listen there; it had everything up to {have}");
            return self.complain(Rule::NotListening, seen, Some(room), text);
        };
        let (joined, settled) = (session.joined, session.settled);
        let wrong = match session.live {
            None => Some((Rule::Replay, format!("got {event} before the replay had ended"))),
            Some(live) if event.seq <= live => Some((Rule::Repeated, format!("after {live} came {event}"))),
            Some(live) if event.seq > live + 1 => {
                Some((Rule::Gap, format!("after {live} came {event}, expected {}", live + 1)))
            }
            Some(_) => None,
        };
        session.live = Some(session.live.unwrap_or_default().max(event.seq));
        view.have = view.have.max(event.seq);
        if let Some((rule, text)) = wrong {
            self.complain(rule, seen, Some(room), text);
        }
        self.entitled(seen, room, event, joined, settled);
    }

    /// Checks that nothing above a removal arrives, unless the user is back and the event may belong to a join.
    fn entitled(&mut self, seen: &Seen, room: usize, event: &Event, joined: u64, settled: Option<Tick>) {
        let passed = |removal: &Removal| joined < removal.seq && removal.seq < event.seq;
        let Some(removal) = self.memberships.removals(room, self.device.user).find(passed) else { return };
        let is_back = removal.undone.is_some_and(|undone| undone < seen.at);
        let was_seated = settled.is_some_and(|settled| settled < removal.began);
        if !is_back || was_seated {
            let text = format!("got {event}, above its removal at {}, without joining again (joined at {joined})", removal.seq);
            self.complain(Rule::AfterRemoval, seen, Some(room), text);
        }
    }

    fn left(&mut self, seen: &Seen, room: usize, reason: &str) {
        // A removal also ends a join in progress: no page of it may follow.
        let session = self.views.get_mut(room).and_then(View::end);
        let removals: Vec<Removal> = self.memberships.removals(room, self.device.user).collect();
        // A join in progress may bring the removal too.
        let since = session.as_ref().map_or(0, |session| session.subscribed);
        let mut explaining = removals.iter().filter(|removal| removal.seq > since && removal.began < seen.at);
        let Some(first) = explaining.next().filter(|_| reason == "removed") else {
            let text = format!("told that it left ({reason}), without a removal after {since}");
            return self.complain(Rule::Left, seen, Some(room), text);
        };
        let Some(session) = session.filter(|session| session.joined == session.subscribed) else { return };
        if session.settled.is_some_and(|settled| settled < first.began) && session.live != Some(first.seq) {
            let text = format!("told that it left after {:?}, and the removal is at {}", session.live, first.seq);
            self.complain(Rule::Left, seen, Some(room), text);
        }
    }

    /// Compares an event with the stored one.
    fn compare(&mut self, seen: &Seen, room: usize, event: &Event, how: &str) {
        let events = self.record.rooms.get(room).map_or(&[][..], |told| told.events.as_slice());
        let stored = events.binary_search_by_key(&event.seq, |event| event.seq).ok().and_then(|place| events.get(place));
        match stored {
            Some(stored) if stored.is_same(event) => {}
            Some(stored) => self.complain(Rule::Content, seen, Some(room), format!("{how} {event}, and stored is {stored}")),
            None => self.complain(Rule::Content, seen, Some(room), format!("{how} {event}, which is not in the history")),
        }
    }

    fn finish(&mut self) {
        for room in &self.device.to_the_end {
            let head = self.record.rooms.get(*room).and_then(|told| told.events.last()).map_or(0, |event| event.seq);
            let have = self.views.get(*room).map_or(0, |view| view.have);
            if have != head {
                let at = place(self.record, *room);
                let Self { number, device, .. } = self;
                let text = format!("{at}: client {number} (user {}) ended at {have}, and the room at {head}", device.user);
                self.violations.add(Rule::Incomplete, text);
            }
        }
    }

    fn complain(&mut self, rule: Rule, seen: &Seen, room: Option<usize>, text: String) {
        let at = room.map(|room| format!("{}: ", place(self.record, room))).unwrap_or_default();
        let (number, user) = (self.number, self.device.user);
        let Seen { at: tick, connection, .. } = seen;
        self.violations.add(rule, format!("{at}client {number} (user {user}), connection {connection}, tick {tick}: {text}"));
    }
}
