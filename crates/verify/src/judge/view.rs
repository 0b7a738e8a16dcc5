//! What one client has seen of one room.

use super::record::{Event, Joined, Page, Tick};

/// A room as one client sees it.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Every event up to here was seen.
    pub(super) have: u64,
    /// Since the last answer to `join` on this connection.
    pub(super) session: Option<Session>,
    /// What the last join still brings.
    pub(super) replay: Option<Replay>,
}

/// From the answer to a `join` to `left`, `leave` or the connection's end.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) joined: u64,
    /// What the first of these joins said: the connection may have taken its seat then.
    pub(super) seated: u64,
    pub(super) asked: Tick,
    /// When the server was seen to be done with the join.
    pub(super) settled: Option<Tick>,
    /// The last event that came live, or by the replay before.
    pub(super) live: Option<u64>,
}

/// A replay under way.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) next: u64,
    pub(super) target: u64,
    /// Only the newest come: the first page says where it begins.
    pub(super) newest: bool,
}

impl View {
    pub(super) fn join(&mut self, joined: &Joined) {
        self.replay = Some(Replay { next: joined.since + 1, target: joined.seq, newest: !joined.recovered });
        // Joining again answers again, and what is live goes on.
        let before = self.session.take();
        let seated = before.as_ref().map_or(joined.seq, |session| session.seated);
        let live = before.and_then(|session| session.live);
        let (asked, joined) = (joined.asked, joined.seq);
        self.session = Some(Session { joined, seated, asked, settled: None, live });
    }

    /// The connection no longer listens; what it was doing.
    pub(super) fn end(&mut self) -> Option<Session> {
        self.replay = None;
        self.session.take()
    }

    /// Takes a page in; what is wrong with it.
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
        // Without `since`, or where that could not be, older messages may come first.
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
