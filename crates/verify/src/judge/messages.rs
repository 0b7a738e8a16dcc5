//! Judges every message, from its sending to the history.

use std::collections::HashMap;

use chatsphere_client::{MessageId, UserId};

use super::memberships::{Memberships, place};
use super::record::{Kind, Over, Record, State, Text, Tick, What};
use super::violation::{Rule, Violations};

/// The only permanent error that a message may get.
const NOT_A_MEMBER: &str = "not_a_member";

/// Identifies a message: room, author and `clientMessageId`.
type Name<'a> = (usize, usize, &'a str);

/// The outcome of a message.
#[derive(Debug, Default)]
struct Fate {
    sent: Vec<(Tick, Text)>,
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Answer {
    device: usize,
    at: Tick,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Acked { id: MessageId, seq: u64 },
    Refused(String),
}

pub(super) fn judge(record: &Record, memberships: &Memberships, violations: &mut Violations) {
    let fates = fates(record);
    let mut names: Vec<&Name<'_>> = fates.keys().collect();
    names.sort_unstable();
    let stored = stored(record, &fates, violations);
    for name in names {
        let (Some(fate), (room, user, key)) = (fates.get(name), *name) else { continue };
        let what = format!("{}: message {key} of user {user}", place(record, room));
        let found = stored.get(name).map_or(&[][..], Vec::as_slice);
        judge_answers(&what, fate, violations);
        judge_storage(&what, fate, found, violations);
        for answer in &fate.answers {
            if let Outcome::Refused(code) = &answer.outcome {
                let began = fate.sent.first().map_or(answer.at, |(at, _)| *at);
                let device = answer.device;
                if code != NOT_A_MEMBER {
                    violations.add(Rule::Refused, format!("{what}: client {device} was refused with {code}"));
                } else if memberships.certainly_in(room, user, began, answer.at) {
                    let text =
                        format!("{what}: client {device} was refused with {code}, though its user was a member throughout");
                    violations.add(Rule::Refused, text);
                }
            }
        }
    }
    judge_order(record, &fates, violations);
}

fn fates(record: &Record) -> HashMap<Name<'_>, Fate> {
    let mut fates: HashMap<Name<'_>, Fate> = HashMap::new();
    for (device, told) in record.devices.iter().enumerate() {
        for seen in &told.seen {
            let (room, key) = match &seen.what {
                What::Sent { room, key, .. } | What::Acked { room, key, .. } | What::Refused { room, key, .. } => (*room, key),
                _ => continue,
            };
            let fate = fates.entry((room, told.user, key)).or_default();
            let outcome = match &seen.what {
                What::Sent { text, .. } => {
                    fate.sent.push((seen.at, *text));
                    continue;
                }
                What::Acked { id, seq, .. } => Outcome::Acked { id: *id, seq: *seq },
                What::Refused { code, .. } => Outcome::Refused(code.clone()),
                _ => continue,
            };
            fate.answers.push(Answer { device, at: seen.at, outcome });
        }
    }
    for fate in fates.values_mut() {
        fate.sent.sort_unstable_by_key(|(at, _)| *at);
        fate.answers.sort_unstable_by_key(|answer| answer.at);
    }
    fates
}

/// The stored messages by name.
type Stored<'a> = HashMap<Name<'a>, Vec<(u64, MessageId, State)>>;

fn stored<'a>(record: &'a Record, fates: &HashMap<Name<'_>, Fate>, violations: &mut Violations) -> Stored<'a> {
    let users: HashMap<UserId, usize> = record.users.iter().enumerate().map(|(number, id)| (*id, number)).collect();
    let mut stored: Stored<'a> = HashMap::new();
    for (room, told) in record.rooms.iter().enumerate() {
        for event in &told.events {
            let Kind::Message { id, author, key, state, .. } = &event.kind else { continue };
            match users.get(author).zip(key.as_deref()) {
                Some((user, key)) if fates.contains_key(&(room, *user, key)) => {
                    stored.entry((room, *user, key)).or_default().push((event.seq, *id, *state));
                }
                _ => violations.add(Rule::NeverSent, format!("{}: stored {event}, which nobody sent", place(record, room))),
            }
        }
    }
    stored
}

fn judge_answers(what: &str, fate: &Fate, violations: &mut Violations) {
    let mut acks = fate.answers.iter().filter_map(|answer| match &answer.outcome {
        Outcome::Acked { id, seq } => Some((*id, *seq, answer)),
        Outcome::Refused(_) => None,
    });
    if let Some((id, seq, first)) = acks.next()
        && let Some((other, at, later)) = acks.find(|(other, at, _)| (*other, *at) != (id, seq))
    {
        violations.add(
            Rule::AnswersDiffer,
            format!(
                "{what}: acknowledged to client {} as {id} at {seq}, and to client {} as {other} at {at}",
                first.device, later.device
            ),
        );
    }
    if fate.answers.is_empty() {
        violations.add(Rule::NoAnswer, format!("{what}: sent {} times and never answered", fate.sent.len()));
    }
}

fn judge_storage(what: &str, fate: &Fate, found: &[(u64, MessageId, State)], violations: &mut Violations) {
    let sent = fate.sent.first().map(|(_, text)| *text);
    if let [first, second, ..] = found {
        violations.add(Rule::StoredTwice, format!("{what}: stored at {} and at {}", first.0, second.0));
    }
    for answer in &fate.answers {
        let Outcome::Acked { id, seq } = answer.outcome else { continue };
        let device = answer.device;
        match found.iter().find(|(_, stored, _)| *stored == id) {
            None => {
                let text = format!("{what}: acknowledged to client {device} as {id} at {seq}, and not in the history");
                violations.add(Rule::Lost, text);
            }
            Some((at, ..)) if *at != seq => {
                violations.add(Rule::Lost, format!("{what}: acknowledged to client {device} at {seq}, and stored at {at}"));
            }
            Some(_) => {}
        }
    }
    // What was edited is judged with the edits.
    for (at, _, State { text, .. }) in found.iter().filter(|(at, _, state)| state.seq == *at) {
        if let Some(sent) = sent.filter(|sent| sent != text) {
            violations.add(Rule::Content, format!("{what}: sent as {sent}, stored at {at} as {text}"));
        }
    }
    if let ([answer], [_], Some((at, ..))) = (&*fate.answers, &*fate.sent, found.first())
        && let Outcome::Refused(code) = &answer.outcome
    {
        violations.add(Rule::RefusedYetStored, format!("{what}: sent once, refused with {code}, and stored at {at}"));
    }
}

/// Messages that were sent once must be stored in the order of sending, per connection and room.
fn judge_order(record: &Record, fates: &HashMap<Name<'_>, Fate>, violations: &mut Violations) {
    for (number, device) in record.devices.iter().enumerate() {
        let mut last: HashMap<(u32, usize), (u64, &str)> = HashMap::new();
        for seen in &device.seen {
            let What::Sent { over: Over::Socket, room, key, .. } = &seen.what else { continue };
            let Some(fate) = fates.get(&(*room, device.user, key.as_str())) else { continue };
            let ([_], Some(Outcome::Acked { seq, .. })) = (&*fate.sent, fate.answers.first().map(|answer| &answer.outcome))
            else {
                continue;
            };
            if let Some((before, earlier)) = last.insert((seen.connection, *room), (*seq, key))
                && before > *seq
            {
                let at = place(record, *room);
                violations.add(
                    Rule::Order,
                    format!("{at}: client {number} sent {earlier} and then {key}, which are stored at {before} and at {seq}"),
                );
            }
        }
    }
}
