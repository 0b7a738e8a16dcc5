//! One client's view of one room.

use super::record::{Event, Joined, Page, Tick};

/// A room as seen by one client.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Every event up to here was received.
    pub(super) have: u64,
    /// The subscription since the last confirmed `join` on this connection.
    pub(super) session: Option<Session>,
    /// The remainder of the last join's replay.
    pub(super) replay: Option<Replay>,
}

/// A subscription: from the confirmation of a `join` to `left`, `leave` or the end of the connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) joined: u64,
    /// The `seq` of the first of these joins: the connection may have been subscribed from there.
    pub(super) subscribed: u64,
    pub(super) asked: Tick,
    /// When the server was known to have finished the join.
    pub(super) settled: Option<Tick>,
    /// The last event received live, or by the previous replay.
    pub(super) live: Option<u64>,
}

/// A replay in progress.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) next: u64,
    pub(super) target: u64,
    /// Only the newest messages follow: the first page determines where it begins.
    pub(super) newest: bool,
}

impl View {
    pub(super) fn join(&mut self, joined: &Joined) {
        self.replay = Some(Replay { next: joined.since + 1, target: joined.seq, newest: !joined.recovered });
        // A repeated join gets a new answer, and live delivery continues.
        let before = self.session.take();
        let subscribed = before.as_ref().map_or(joined.seq, |session| session.subscribed);
        let live = before.and_then(|session| session.live);
        let (asked, joined) = (joined.asked, joined.seq);
        self.session = Some(Session { joined, subscribed, asked, settled: None, live });
    }

    /// Ends the subscription and returns it.
    pub(super) fn end(&mut self) -> Option<Session> {
        self.replay = None;
        self.session.take()
    }

    /// Processes a page; returns what is wrong with it, if anything.
    pub(super) fn page(&mut self, page: &Page) -> Option<String> {
        let Some(replay) = &mut self.replay else { return Some("a page that no join has asked for".to_owned()) };
        if replay.newest {
            replay.next = page.from;
            replay.newest = false;
        }
        let mut wrong = None;
        let mut complain = |what: String| wrong = wrong.take().or(Some(what));
        if page.from != replay.next {
            complain(format!("a page begins at {}, expected {}", page.from, replay.next));
        }
        if page.to > replay.target || page.more != (page.to < replay.target) {
            complain(format!("a page to {} says more: {}, and the join said {}", page.to, page.more, replay.target));
        }
        for list in [&page.messages, &page.others] {
            if !list.is_sorted_by(|one, next| one.seq < next.seq) {
                complain(format!("a page from {} to {} is not in order: {}", page.from, page.to, numbers(list)));
            }
        }
        let mut all: Vec<u64> = page.messages.iter().chain(&page.others).map(|event| event.seq).collect();
        all.sort_unstable();
        // Without `since`, or if it could not be used, older messages may come first.
        all.retain(|seq| *seq >= page.from);
        let expected = page.from..=page.to;
        if all.iter().copied().ne(expected.clone()) {
            let missing: Vec<u64> = expected.filter(|seq| !all.contains(seq)).collect();
            complain(format!("a page from {} to {} lacks {missing:?}, and holds {all:?}", page.from, page.to));
        }
        replay.next = page.to + 1;
        if !page.more {
            self.replay = None;
            if let Some(session) = &mut self.session {
                session.live.get_or_insert(page.to);
            }
        }
        self.have = self.have.max(page.to);
        wrong
    }
}

fn numbers(events: &[Event]) -> String {
    format!("{:?}", events.iter().map(|event| event.seq).collect::<Vec<_>>())
}
