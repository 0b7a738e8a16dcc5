//! Judges each room's sequence, and the consistency of its lists.

use super::memberships::place;
use super::record::{Event, Kind, Record, RoomRecord};
use super::violation::{Rule, Violations};

pub(super) fn judge(record: &Record, violations: &mut Violations) {
    for (number, room) in record.rooms.iter().enumerate() {
        let at = place(record, number);
        judge_numbers(&at, room, violations);
        judge_messages(&at, room, violations);
    }
}

fn judge_numbers(at: &str, room: &RoomRecord, violations: &mut Violations) {
    let mut last = 0;
    for event in &room.events {
        if event.seq != last + 1 {
            violations.add(Rule::Numbers, format!("{at}: in the list of events, after {last} comes {event}"));
        }
        last = event.seq;
    }
    if room.told_seq != last {
        violations.add(Rule::History, format!("{at}: its events end at {last}, and it says {}", room.told_seq));
    }
}

fn judge_messages(at: &str, room: &RoomRecord, violations: &mut Violations) {
    let among_events: Vec<&Event> = room.events.iter().filter(|event| matches!(event.kind, Kind::Message { .. })).collect();
    for pair in among_events.iter().zip(&room.messages) {
        if **pair.0 != *pair.1 {
            violations.add(Rule::History, format!("{at}: the events have {}, the messages have {}", pair.0, pair.1));
            break;
        }
    }
    if among_events.len() != room.messages.len() {
        let (events, messages) = (among_events.len(), room.messages.len());
        violations.add(Rule::History, format!("{at}: {events} messages are among its events, {messages} in its history"));
    }
    if room.told_messages != Some(room.messages.len() as u64) {
        let counted = room.told_messages;
        violations
            .add(Rule::History, format!("{at}: {} messages are in its history, and it says {counted:?}", room.messages.len()));
    }
}
