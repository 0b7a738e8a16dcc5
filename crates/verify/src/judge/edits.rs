//! Every edit, from its sending to what each client shows in the end.

use std::collections::{HashMap, HashSet};

use chatsphere_client::MessageId;

use super::memberships::place;
use super::record::{DeviceRecord, Event, Kind, Record, RoomRecord, State, Text, What};
use super::violation::{Rule, Violations};

pub(super) fn judge(record: &Record, violations: &mut Violations) {
    for (number, room) in record.rooms.iter().enumerate() {
        let at = place(record, number);
        judge_room(&at, number, room, record, violations);
        judge_states(&at, number, room, record, violations);
        for (client, device) in record.devices.iter().enumerate().filter(|(_, device)| device.to_the_end.contains(&number)) {
            judge_end(&format!("{at}: client {client}"), number, room, device, violations);
        }
    }
}

/// Edits that were answered are stored, and nothing is stored that nobody sent.
fn judge_room(at: &str, number: usize, room: &RoomRecord, record: &Record, violations: &mut Violations) {
    let mut sent: HashSet<(MessageId, Text)> = HashSet::new();
    let edits: HashMap<u64, MessageId> = room.events.iter().filter_map(edit).collect();
    for seen in record.devices.iter().flat_map(|device| &device.seen) {
        match &seen.what {
            What::EditSent { room, id, text } if *room == number => drop(sent.insert((*id, *text))),
            What::Edited { room, id, state } if *room == number && edits.get(&state.seq) != Some(id) => {
                violations
                    .add(Rule::Lost, format!("{at}: an edit of {id} was answered as of {}, and is not stored", state.seq));
            }
            What::EditRefused { room, code } if *room == number && code != "not_a_member" => {
                violations.add(Rule::Refused, format!("{at}: an edit was refused with {code}"));
            }
            _ => {}
        }
    }
    for event in &room.messages {
        let Some((id, state)) = event.shown().filter(|(_, state)| state.seq != event.seq) else { continue };
        if !sent.contains(&(id, state.text)) {
            violations.add(Rule::NeverSent, format!("{at}: nobody made this edit: {event}"));
        }
        if edits.iter().filter(|(_, edited)| **edited == id).map(|(seq, _)| *seq).max() != Some(state.seq) {
            violations.add(Rule::History, format!("{at}: the last edit among its events is another than that of {event}"));
        }
    }
}

fn edit(event: &Event) -> Option<(u64, MessageId)> {
    if let Kind::Edited { id, .. } = event.kind { Some((event.seq, id)) } else { None }
}

/// A state of a message is the same for everyone who sees it, at whatever time and by whatever way.
fn judge_states(at: &str, number: usize, room: &RoomRecord, record: &Record, violations: &mut Violations) {
    let mut states: HashMap<(MessageId, u64), Text> = HashMap::new();
    let seen = record.devices.iter().flat_map(|device| shown(device, number));
    for (id, state) in room.messages.iter().chain(&room.events).filter_map(Event::shown).chain(seen) {
        let first = *states.entry((id, state.seq)).or_insert(state.text);
        if first != state.text {
            let text = format!("{at}: message {id} as of {} is {first} for one, and {} for another", state.seq, state.text);
            violations.add(Rule::Content, text);
        }
    }
}

/// Who applies every state that is newer than the one it has shows in the end what is stored.
fn judge_end(at: &str, number: usize, room: &RoomRecord, device: &DeviceRecord, violations: &mut Violations) {
    // One that could not be told everything has to read the messages anew.
    let missed = |seen: &What| matches!(seen, What::Joined(joined) if joined.room == number && !joined.recovered);
    if device.seen.iter().any(|seen| missed(&seen.what)) {
        return;
    }
    let mut shows: HashMap<MessageId, State> = HashMap::new();
    for (id, state) in shown(device, number) {
        let newest = shows.entry(id).or_insert(state);
        if state.seq > newest.seq {
            *newest = state;
        }
    }
    for (id, state) in room.messages.iter().filter_map(Event::shown) {
        if let Some(shows) = shows.get(&id).filter(|shows| **shows != state) {
            let text = format!("{at} shows message {id} as of {}, and it is as of {}", shows.seq, state.seq);
            violations.add(Rule::Incomplete, text);
        }
    }
}

/// The states of messages that a client was shown in a room.
fn shown(device: &DeviceRecord, number: usize) -> Vec<(MessageId, State)> {
    let mut shown = Vec::new();
    for seen in &device.seen {
        match &seen.what {
            What::Page(page) if page.room == number => {
                shown.extend(page.messages.iter().chain(&page.others).filter_map(Event::shown));
            }
            What::Event { room, event } if *room == number => shown.extend(event.shown()),
            What::Edited { room, id, state } if *room == number => shown.push((*id, *state)),
            _ => {}
        }
    }
    shown
}
