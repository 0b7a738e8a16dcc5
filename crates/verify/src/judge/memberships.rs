//! Memberships over time: by the `seq` of the history, and by the times of the calls.

use std::collections::{HashMap, HashSet};

use chatsphere_client::UserId;

use super::record::{Change, Kind, Record, Tick};
use super::violation::{Rule, Violations};

/// A membership change with its `seq`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered {
    pub(crate) change: Change,
    pub(crate) seq: u64,
}

/// All memberships of the run.
#[derive(Debug, Default)]
pub(crate) struct Memberships(HashMap<(usize, usize), Vec<Numbered>>);

/// A removal, and when its user was added again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) seq: u64,
    pub(crate) began: Tick,
    /// The start of the next addition, if any.
    pub(crate) undone: Option<Tick>,
}

impl Memberships {
    /// Reads the memberships, and compares the history with the changes made.
    pub(super) fn read(record: &Record, violations: &mut Violations) -> Self {
        let numbers: HashMap<UserId, usize> = record.users.iter().enumerate().map(|(number, id)| (*id, number)).collect();
        let mut all = Self::default();
        for (room, told) in record.rooms.iter().enumerate() {
            let mut stored: HashMap<usize, Vec<(u64, bool)>> = HashMap::new();
            let mut members = HashSet::new();
            for event in &told.events {
                let (user, adds) = match &event.kind {
                    Kind::Joined { user } => (user, true),
                    Kind::Left { user } => (user, false),
                    Kind::Message { author, .. } => {
                        if !members.contains(author) {
                            violations.add(
                                Rule::Membership,
                                format!("{}: stored {event}, who was no member then", place(record, room)),
                            );
                        }
                        continue;
                    }
                    Kind::Edited { .. } | Kind::Other => continue,
                };
                let changed = if adds { members.insert(*user) } else { members.remove(user) };
                if !changed {
                    violations.add(Rule::Membership, format!("{}: {event}, which changes nothing", place(record, room)));
                }
                match numbers.get(user) {
                    Some(number) => stored.entry(*number).or_default().push((event.seq, adds)),
                    None => {
                        violations.add(Rule::Membership, format!("{}: {event}, a stranger to this run", place(record, room)))
                    }
                }
            }
            for user in 0..record.users.len() {
                let made: Vec<Change> =
                    record.changes.iter().filter(|change| change.room == room && change.user == user).copied().collect();
                let stored = stored.remove(&user).unwrap_or_default();
                if made.iter().map(|change| change.adds).ne(stored.iter().map(|(_, adds)| *adds)) {
                    violations.add(
                        Rule::Membership,
                        format!(
                            "{}: the changes of user {user} were {}, and stored are {}",
                            place(record, room),
                            signs(made.iter().map(|change| (None, change.adds))),
                            signs(stored.iter().map(|(seq, adds)| (Some(*seq), *adds)))
                        ),
                    );
                }
                let numbered = made.into_iter().zip(stored).map(|(change, (seq, _))| Numbered { change, seq });
                all.0.insert((room, user), numbered.collect());
            }
        }
        all
    }

    fn of(&self, room: usize, user: usize) -> &[Numbered] {
        self.0.get(&(room, user)).map_or(&[], Vec::as_slice)
    }

    /// Whether the user was certainly not a member in this period.
    pub(super) fn certainly_out(&self, room: usize, user: usize, from: Tick, to: Tick) -> bool {
        let last = self.of(room, user).iter().rev().find(|numbered| numbered.change.began < to);
        last.is_none_or(|last| !last.change.adds && last.change.returned < from)
    }

    /// Whether the user was certainly a member in this period.
    pub(super) fn certainly_in(&self, room: usize, user: usize, from: Tick, to: Tick) -> bool {
        let last = self.of(room, user).iter().rev().find(|numbered| numbered.change.began < to);
        last.is_some_and(|last| last.change.adds && last.change.returned < from)
    }

    /// The user's removals from the room, in ascending order.
    pub(super) fn removals(&self, room: usize, user: usize) -> impl Iterator<Item = Removal> {
        let changes = self.of(room, user);
        changes.iter().enumerate().filter(|(_, numbered)| !numbered.change.adds).map(|(place, numbered)| Removal {
            seq: numbered.seq,
            began: numbered.change.began,
            undone: changes.get(place + 1).map(|next| next.change.began),
        })
    }
}

/// A room's name in reports.
pub(super) fn place(record: &Record, room: usize) -> String {
    record.rooms.get(room).map_or_else(|| format!("room {room}"), |told| format!("room {room} ({})", told.id))
}

fn signs(changes: impl Iterator<Item = (Option<u64>, bool)>) -> String {
    let signs: Vec<String> = changes
        .map(|(seq, adds)| {
            let sign = if adds { "+" } else { "-" };
            seq.map_or_else(|| sign.to_owned(), |seq| format!("{sign}{seq}"))
        })
        .collect();
    if signs.is_empty() { "none".to_owned() } else { signs.join(" ") }
}
