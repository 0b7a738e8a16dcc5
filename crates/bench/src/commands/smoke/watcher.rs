use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use chatsphere_client::{Client, Connection, Event, EventKind, Events, RoomId, Seq, Update};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::history::RoomHistory;

/// Maximum number of reported violations per socket.
const MAX_TOLD: usize = 5;

/// A socket of the run and the events that it received.
pub(super) struct Socket {
    number: usize,
    pub(super) connection: Connection,
    /// The same user over REST.
    pub(super) rest: Client,
    pub(super) rooms: Vec<RoomId>,
    places: watch::Receiver<HashMap<RoomId, Seq>>,
    watching: JoinHandle<Observed>,
}

/// The events that a socket received.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) events: u64,
    pub(super) reconnects: u64,
    rooms: HashMap<RoomId, Seen>,
    violations: Vec<String>,
}

/// The events of one room that a socket received.
#[derive(Debug, Default)]
struct Seen {
    last: Seq,
    digest: Digest,
}

/// A fingerprint of a sequence of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn add(&mut self, event: &Event) {
        let mut hasher = DefaultHasher::new();
        (self.0, event.seq).hash(&mut hasher);
        match &event.kind {
            EventKind::NewMessage { message } => (message.id, &message.content).hash(&mut hasher),
            EventKind::MemberJoined { user, .. } => ("joined", user.id).hash(&mut hasher),
            EventKind::MemberLeft { user, .. } => ("left", user.id).hash(&mut hasher),
            _ => {}
        }
        self.0 = hasher.finish();
    }
}

impl Socket {
    pub(super) fn open(number: usize, (connection, events): (Connection, Events), rest: Client, rooms: Vec<RoomId>) -> Self {
        let (told, places) = watch::channel(HashMap::new());
        let watching = tokio::spawn(Observed::default().run(events, told));
        Self { number, connection, rest, rooms, places, watching }
    }

    /// Waits until the socket has received all events of its rooms, up to the deadline, and reports violations.
    pub(super) async fn finish(
        mut self,
        histories: &[RoomHistory],
        deadline: Instant,
        violations: &mut Vec<String>,
    ) -> Observed {
        let expected: Vec<&RoomHistory> = histories.iter().filter(|history| self.rooms.contains(&history.room)).collect();
        let all = self.places.wait_for(|places| {
            expected.iter().all(|history| places.get(&history.room).is_some_and(|seq| *seq >= history.head))
        });
        let patience = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
        let _ = timeout(patience, all).await;
        self.connection.close().await;
        let watch = self.watching.await.unwrap_or_default();
        let mut complain = |what: String| violations.push(format!("socket {}: {what}", self.number));
        watch.violations.iter().take(MAX_TOLD).for_each(|violation| complain(violation.clone()));
        for history in expected {
            match watch.rooms.get(&history.room) {
                Some(seen) if seen.last != history.head => {
                    complain(format!("room {} ended at {} instead of {}", history.room, seen.last, history.head));
                }
                Some(seen) if seen.digest != history.digest => {
                    complain(format!("room {}: its events are not those of the history", history.room));
                }
                Some(_) => {}
                None => complain(format!("room {}: nothing was seen", history.room)),
            }
        }
        watch
    }
}

impl Observed {
    async fn run(mut self, mut events: Events, told: watch::Sender<HashMap<RoomId, Seq>>) -> Self {
        while let Some(update) = events.recv().await {
            match update {
                Update::Event(event) => {
                    let (room, seq) = (event.room_id, event.seq);
                    self.take(&event);
                    told.send_modify(|places| {
                        places.insert(room, seq);
                    });
                }
                Update::Reconnecting { .. } => self.reconnects += 1,
                Update::NotRecovered { room, reason, .. } => {
                    self.violations.push(format!("room {room} was not recovered: {reason:?}"));
                }
                Update::Left { room, reason } => self.violations.push(format!("room {room} was left: {reason}")),
                Update::Closed { code, reason } => self.violations.push(format!("closed with {code}: {reason}")),
                Update::Error(error) => self.violations.push(format!("error {}: {}", error.code, error.message)),
                _ => {}
            }
        }
        self
    }

    fn take(&mut self, event: &Event) {
        self.events += 1;
        let seen = self.rooms.entry(event.room_id).or_default();
        if event.seq != seen.last.next() {
            self.violations.push(format!("room {}: {} came after {}", event.room_id, event.seq, seen.last));
        }
        seen.last = event.seq;
        seen.digest.add(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Event {
        let room_id = "0198c0de-7c1a-7000-8000-0123456789ab".parse().unwrap();
        let kind = EventKind::Unknown { kind: "x".into(), body: Default::default() };
        Event { room_id, seq: Seq::new(seq), created_at: None, kind }
    }

    #[test]
    fn a_gap_and_a_repetition_are_reported_and_change_the_digest() {
        let seen = |seqs: &[u64]| {
            let mut watch = Observed::default();
            seqs.iter().for_each(|seq| watch.take(&event(*seq)));
            let digest = watch.rooms.values().next().unwrap().digest;
            (watch.violations.len(), digest)
        };
        let (violations, right) = seen(&[1, 2, 3]);
        assert_eq!(violations, 0);
        for (seqs, violations) in [(&[1, 3][..], 1), (&[1, 2, 2, 3], 1), (&[2, 1, 3], 3), (&[2, 3], 1)] {
            let (told, digest) = seen(seqs);
            assert_eq!(told, violations, "{seqs:?}");
            assert_ne!(digest, right, "{seqs:?}");
        }
    }
}
