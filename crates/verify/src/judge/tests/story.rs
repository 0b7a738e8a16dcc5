//! A correct run in one room: two users with one client each, a reconnect, a retry, a removal and a return.

use chatsphere_client::{MessageId, UserId};

use crate::judge::record::{
    Change, DeviceRecord, Event, Joined, Kind, Over, Page, Record, RoomRecord, Seen, State, Text, Tick, What,
};

pub(super) fn user(number: u8) -> UserId {
    format!("0198c0de-7c1a-7000-8000-0000000001{number:02x}").parse().unwrap()
}

pub(super) fn message_id(number: u8) -> MessageId {
    format!("0198c0de-7c1a-7000-8000-0000000000{number:02x}").parse().unwrap()
}

pub(super) fn message(id: u8, author: u8, key: &str, text: &str) -> Kind {
    let at = "2026-11-22T09:56:10.473Z".to_owned();
    let state = State { seq: placed(id), text: Text::of(text) };
    Kind::Message { id: message_id(id), author: user(author), key: Some(key.to_owned()), state, at }
}

/// The number of each message in the story.
fn placed(id: u8) -> u64 {
    match id {
        1 | 2 => u64::from(id) + 2,
        3 => 6,
        4 => 8,
        _ => 9,
    }
}

/// The same run, in which the second user edits its last message at the end.
pub(super) fn edited(record: &mut Record) {
    let (id, state) = (message_id(4), State { seq: 9, text: Text::of("edited") });
    let room = &mut record.rooms[0];
    for event in room.events.iter_mut().chain(&mut room.messages).filter(|event| event.seq == 8) {
        let Kind::Message { state: shown, .. } = &mut event.kind else { panic!("the last event is a message") };
        *shown = state;
    }
    room.events.push(event(9, Kind::Edited { id, state: Some(state) }));
    room.told_seq = 9;
    for device in &mut record.devices {
        let Seen { at: last, connection, .. } = *device.seen.last().unwrap();
        let seen = |what| Seen { at: last + 1, connection, what };
        if device.user == 1 {
            device.seen.push(seen(What::EditSent { room: 0, id, text: state.text }));
        }
        device.seen.push(seen(at(9, Kind::Edited { id, state: Some(state) })));
        if device.user == 1 {
            device.seen.push(seen(What::Edited { room: 0, id, state }));
        }
    }
}

pub(super) fn event(seq: u64, kind: Kind) -> Event {
    Event { seq, kind }
}

pub(super) fn at(seq: u64, kind: Kind) -> What {
    What::Event { room: 0, event: event(seq, kind) }
}

/// The room's stored events.
fn events() -> Vec<Event> {
    vec![
        event(1, Kind::Joined { user: user(0) }),
        event(2, Kind::Joined { user: user(1) }),
        event(3, message(1, 0, "m1", "m1")),
        event(4, message(2, 1, "m2", "m2")),
        event(5, Kind::Left { user: user(1) }),
        event(6, message(3, 0, "m3", "m3")),
        event(7, Kind::Joined { user: user(1) }),
        event(8, message(4, 1, "m4", "m4")),
    ]
}

fn is_message(event: &Event) -> bool {
    matches!(event.kind, Kind::Message { .. })
}

/// Builds the record in chronological order.
#[derive(Default)]
struct Story {
    tick: Tick,
    connections: [u32; 2],
    seen: [Vec<Seen>; 2],
    changes: Vec<Change>,
}

impl Story {
    fn tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    fn saw(&mut self, device: usize, what: What) {
        let at = self.tick();
        self.connections[device] += u32::from(matches!(what, What::Connected { .. }));
        let connection = self.connections[device];
        self.seen[device].push(Seen { at, connection, what });
    }

    fn live(&mut self, device: usize, seq: u64) {
        let event = events().into_iter().find(|event| event.seq == seq).unwrap();
        self.saw(device, What::Event { room: 0, event });
    }

    fn sends(&mut self, device: usize, key: &str) {
        self.saw(device, What::Sent { over: Over::Socket, room: 0, key: key.to_owned(), text: Text::of(key) });
    }

    fn acked(&mut self, device: usize, key: &str, id: u8, seq: u64) {
        self.saw(device, What::Acked { room: 0, key: key.to_owned(), id: message_id(id), seq });
    }

    fn joins(&mut self, device: usize, since: u64, seq: u64) {
        let asked = self.tick();
        self.saw(device, What::Joined(Joined { room: 0, since, asked, seq, recovered: true, reason: None }));
        let (messages, others) =
            events().into_iter().filter(|event| event.seq > since && event.seq <= seq).partition(is_message);
        self.saw(device, What::Page(Page { room: 0, from: since + 1, to: seq, more: false, messages, others }));
        self.saw(device, What::Settled { upto: asked + 1 });
    }

    fn change(&mut self, user: usize, adds: bool) {
        let (began, returned) = (self.tick(), self.tick());
        self.changes.push(Change { room: 0, user, adds, began, returned });
    }
}

pub(super) fn honest() -> Record {
    let mut story = Story::default();
    story.change(0, true);
    story.change(1, true);
    for device in [0, 1] {
        story.saw(device, What::Connected { replay_events: 10_000 });
        story.joins(device, 0, 2);
    }
    story.sends(0, "m1");
    story.live(0, 3);
    story.acked(0, "m1", 1, 3);
    story.live(1, 3);
    story.sends(1, "m2");
    story.acked(1, "m2", 2, 4);
    story.live(0, 4);
    story.live(1, 4);
    story.change(1, false);
    story.live(1, 5);
    story.saw(1, What::Left { room: 0, reason: "removed".to_owned() });
    story.live(0, 5);
    // Stored, but the connection ends before the acknowledgement.
    story.sends(0, "m3");
    story.saw(0, What::Ended { code: None, overslept: false });
    let asked = story.tick();
    story.saw(1, What::JoinRefused { room: 0, asked, code: "not_a_member".to_owned() });
    story.saw(0, What::Connected { replay_events: 10_000 });
    story.joins(0, 5, 6);
    story.sends(0, "m3");
    story.acked(0, "m3", 3, 6);
    story.change(1, true);
    story.joins(1, 5, 7);
    story.live(0, 7);
    story.sends(1, "m4");
    story.live(1, 8);
    story.acked(1, "m4", 4, 8);
    story.live(0, 8);
    let Story { seen: [first, second], changes, .. } = story;
    let device = |user, seen| DeviceRecord { user, seen, to_the_end: vec![0] };
    let room = RoomRecord {
        id: "0198c0de-7c1a-7000-8000-0123456789ab".parse().unwrap(),
        events: events(),
        messages: events().into_iter().filter(is_message).collect(),
        told_seq: 8,
        told_messages: Some(4),
    };
    Record { users: vec![user(0), user(1)], rooms: vec![room], devices: vec![device(0, first), device(1, second)], changes }
}
