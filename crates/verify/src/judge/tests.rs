//! Judges a correct run, and copies of it with one violation each.

mod story;

use chatsphere_client::{MessageId, NotRecovered};

use super::judge;
use super::record::{Event, Joined, Kind, Over, Page, Record, State, Text, What};
use super::violation::Rule;
use story::{at, edited, event, honest, message, message_id};

#[test]
fn an_honest_run_breaks_no_rule() {
    assert_eq!(judge(&honest()).told(), Vec::<String>::new());
}

#[test]
fn an_honest_edit_breaks_no_rule() {
    let mut record = honest();
    edited(&mut record);
    assert_eq!(judge(&record).told(), Vec::<String>::new());
}

fn is_edit(what: &What) -> bool {
    matches!(what, What::Event { event, .. } if matches!(event.kind, Kind::Edited { .. }))
}

/// What one client saw of an event live.
fn seen_live(record: &mut Record, device: usize, seq: u64) -> usize {
    let seen = &record.devices[device].seen;
    seen.iter().position(|seen| matches!(&seen.what, What::Event { event, .. } if event.seq == seq)).unwrap()
}

fn stored(record: &mut Record, seq: u64) -> &mut Event {
    record.rooms[0].events.iter_mut().find(|event| event.seq == seq).unwrap()
}

fn last_of(record: &mut Record, device: usize, is: impl Fn(&What) -> bool) -> &mut What {
    &mut record.devices[device].seen.iter_mut().rfind(|seen| is(&seen.what)).unwrap().what
}

fn first_of(record: &mut Record, device: usize, is: impl Fn(&What) -> bool) -> &mut What {
    &mut record.devices[device].seen.iter_mut().find(|seen| is(&seen.what)).unwrap().what
}

/// Inserts an observation after the last one that satisfies `is`.
fn after(record: &mut Record, device: usize, is: impl Fn(&What) -> bool, what: What) {
    let seen = &mut record.devices[device].seen;
    let place = seen.iter().rposition(|seen| is(&seen.what)).unwrap();
    let mut another = seen[place].clone();
    another.what = what;
    seen.insert(place + 1, another);
}

fn is_ack(what: &What) -> bool {
    matches!(what, What::Acked { .. })
}

fn is_page(what: &What) -> bool {
    matches!(what, What::Page(_))
}

fn is_join(what: &What) -> bool {
    matches!(what, What::Joined(_))
}

fn is_left(what: &What) -> bool {
    matches!(what, What::Left { .. })
}

/// A planted violation, and the rule that must be found broken.
type Planted = (&'static str, Rule, fn(&mut Record));

const PLANTED: &[Planted] = &[
    ("an event is left out", Rule::Gap, |record| {
        let place = seen_live(record, 0, 4);
        record.devices[0].seen.remove(place);
    }),
    ("an event comes twice", Rule::Repeated, |record| {
        let place = seen_live(record, 0, 4);
        let again = record.devices[0].seen[place].clone();
        record.devices[0].seen.insert(place, again);
    }),
    ("two events are swapped", Rule::Repeated, |record| {
        let (one, other) = (seen_live(record, 0, 3), seen_live(record, 0, 4));
        record.devices[0].seen.swap(one, other);
    }),
    ("the last event never comes", Rule::Incomplete, |record| {
        let place = seen_live(record, 0, 8);
        record.devices[0].seen.remove(place);
    }),
    ("an event differs from what is stored", Rule::Content, |record| {
        let place = seen_live(record, 0, 4);
        record.devices[0].seen[place].what = What::Event { room: 0, event: event(4, message(2, 1, "m2", "another")) };
    }),
    ("a replayed message differs from what is stored", Rule::Content, |record| {
        let What::Page(page) = last_of(record, 0, is_page) else { panic!() };
        page.messages[0] = event(6, message(3, 0, "m3", "another"));
    }),
    ("an event comes that is not stored", Rule::Content, |record| {
        after(record, 0, |what| matches!(what, What::Event { event, .. } if event.seq == 8), at(9, message(9, 0, "m9", "m9")));
    }),
    ("a replay lacks an event", Rule::Replay, |record| {
        let What::Page(page) = last_of(record, 1, is_page) else { panic!() };
        page.messages.clear();
    }),
    ("a replay begins too late", Rule::Replay, |record| {
        let What::Page(page) = last_of(record, 1, is_page) else { panic!() };
        (page.from, page.messages) = (7, Vec::new());
    }),
    ("a replay is said to go on and does not", Rule::Replay, |record| {
        let What::Page(page) = last_of(record, 1, is_page) else { panic!() };
        page.more = true;
    }),
    ("a page is not in order", Rule::Replay, |record| {
        let What::Page(page) = first_of(record, 0, is_page) else { panic!() };
        page.others.reverse();
    }),
    ("a page comes unasked", Rule::Replay, |record| {
        let page = first_of(record, 0, is_page).clone();
        after(record, 0, is_page, page);
    }),
    ("a join brings less than was acknowledged", Rule::Replay, |record| {
        let What::Joined(joined) = last_of(record, 0, is_join) else { panic!() };
        (joined.seq, joined.since) = (4, 4);
    }),
    ("a join does not recover", Rule::Replay, |record| {
        let What::Joined(joined) = last_of(record, 0, is_join) else { panic!() };
        (joined.recovered, joined.reason) = (false, Some(NotRecovered::EpochChanged));
    }),
    ("live events come before the replay's end", Rule::Replay, |record| {
        let place = record.devices[0].seen.iter().rposition(|seen| is_page(&seen.what)).unwrap();
        record.devices[0].seen.remove(place);
    }),
    ("an event comes from above a removal", Rule::NotListening, |record| {
        after(record, 1, is_left, at(6, message(3, 0, "m3", "m3")));
    }),
    ("an event comes from above a removal, and `left` later", Rule::AfterRemoval, |record| {
        let place = record.devices[1].seen.iter().position(|seen| is_left(&seen.what)).unwrap();
        let mut early = record.devices[1].seen[place].clone();
        early.what = at(6, message(3, 0, "m3", "m3"));
        record.devices[1].seen.insert(place, early);
    }),
    ("a removal goes unnoticed", Rule::AfterRemoval, |record| {
        // The subscription was kept: everything arrives live, as if nothing had happened.
        let seen = &mut record.devices[1].seen;
        let left = seen.iter().position(|seen| is_left(&seen.what)).unwrap();
        seen.drain(left..left + 4);
        let tick = seen[left].at;
        for (number, what) in
            [at(6, message(3, 0, "m3", "m3")), at(7, Kind::Joined { user: story::user(1) })].into_iter().enumerate()
        {
            let mut live = seen[left - 1].clone();
            (live.what, live.at) = (what, tick);
            seen.insert(left + number, live);
        }
    }),
    ("somebody is told of a removal that was none", Rule::Left, |record| {
        after(record, 0, |what| matches!(what, What::Event { .. }), What::Left { room: 0, reason: "removed".to_owned() });
    }),
    ("`left` comes before the removal's event", Rule::Left, |record| {
        let place = seen_live(record, 1, 5);
        record.devices[1].seen.remove(place);
    }),
    ("a stranger is let in", Rule::LetIn, |record| {
        let What::JoinRefused { asked, .. } = first_of(record, 1, |what| matches!(what, What::JoinRefused { .. })) else {
            panic!()
        };
        let asked = *asked;
        let mut joined = first_of(record, 1, is_join).clone();
        let What::Joined(told) = &mut joined else { panic!() };
        (told.asked, told.since, told.seq) = (asked, 5, 6);
        *first_of(record, 1, |what| matches!(what, What::JoinRefused { .. })) = joined;
    }),
    ("a member is shut out", Rule::Refused, |record| {
        let What::Joined(joined) = first_of(record, 0, is_join).clone() else { panic!() };
        let refused = What::JoinRefused { room: 0, asked: joined.asked, code: "not_a_member".to_owned() };
        after(record, 0, is_ack, refused);
    }),
    ("an acknowledged message is lost", Rule::Lost, |record| {
        let What::Acked { id, .. } = first_of(record, 0, is_ack) else { panic!() };
        *id = message_id(99);
    }),
    ("an acknowledged message moves", Rule::Lost, |record| {
        let What::Acked { seq, .. } = first_of(record, 0, is_ack) else { panic!() };
        *seq = 4;
    }),
    ("a retry is answered in another way", Rule::AnswersDiffer, |record| {
        let What::Acked { room, key, seq, .. } = first_of(record, 0, is_ack).clone() else { panic!() };
        after(record, 0, is_ack, What::Acked { room, key, seq, id: message_id(99) });
    }),
    ("a retry is stored twice", Rule::StoredTwice, |record| {
        let again: MessageId = message_id(77);
        let Kind::Message { id, key, author, state, .. } = &mut stored(record, 6).kind else { panic!() };
        (*id, *key, *author, state.text) = (again, Some("m1".to_owned()), story::user(0), Text::of("m1"));
    }),
    ("a message's content is changed", Rule::Content, |record| {
        let Kind::Message { state, .. } = &mut stored(record, 6).kind else { panic!() };
        state.text = Text::of("another");
    }),
    ("a message comes from nowhere", Rule::NeverSent, |record| {
        let Kind::Message { key, .. } = &mut stored(record, 6).kind else { panic!() };
        *key = None;
    }),
    ("a message is never answered", Rule::NoAnswer, |record| {
        let sent = What::Sent { over: Over::Socket, room: 0, key: "m9".to_owned(), text: Text::of("m9") };
        after(record, 0, is_ack, sent);
    }),
    ("a refused message is stored", Rule::RefusedYetStored, |record| {
        *first_of(record, 1, is_ack) = What::Refused { room: 0, key: "m2".to_owned(), code: "not_a_member".to_owned() };
    }),
    ("a member's message is refused", Rule::Refused, |record| {
        *first_of(record, 1, is_ack) = What::Refused { room: 0, key: "m2".to_owned(), code: "not_a_member".to_owned() };
    }),
    ("a message is refused for no reason", Rule::Refused, |record| {
        *first_of(record, 1, is_ack) =
            What::Refused { room: 0, key: "m2".to_owned(), code: "client_message_id_reused".to_owned() };
    }),
    ("messages of one connection change places", Rule::Order, |record| {
        let seen = &mut record.devices[0].seen;
        let one = seen.iter().position(|seen| matches!(seen.what, What::Sent { .. })).unwrap();
        let mut before = seen[one].clone();
        before.what = What::Sent { over: Over::Socket, room: 0, key: "m5".to_owned(), text: Text::of("m5") };
        seen.insert(one, before);
        let acked = What::Acked { room: 0, key: "m5".to_owned(), id: message_id(5), seq: 9 };
        after(record, 0, is_ack, acked);
        record.rooms[0].events.push(event(9, message(5, 0, "m5", "m5")));
    }),
    ("numbers have a gap", Rule::Numbers, |record| {
        record.rooms[0].events.retain(|event| event.seq != 4);
    }),
    ("a number is given twice", Rule::Numbers, |record| stored(record, 4).seq = 3),
    ("the messages lack what the events have", Rule::History, |record| drop(record.rooms[0].messages.pop())),
    ("the room counts other than it lists", Rule::History, |record| record.rooms[0].told_seq = 9),
    ("one who is no member writes", Rule::Membership, |record| {
        let Kind::Message { author, .. } = &mut stored(record, 6).kind else { panic!() };
        *author = story::user(1);
    }),
    ("a removal is not stored", Rule::Membership, |record| stored(record, 5).kind = Kind::Other),
    ("a removal is stored twice", Rule::Membership, |record| stored(record, 6).kind = Kind::Left { user: story::user(1) }),
    ("a page follows the removal", Rule::Replay, |record| {
        let second = second_join_before_removal(record);
        after(record, 1, is_left, What::Page(second));
    }),
    ("an edit that was answered is not stored", Rule::Lost, |record| {
        edited(record);
        stored(record, 9).kind = Kind::Other;
    }),
    ("nobody made an edit", Rule::NeverSent, |record| {
        edited(record);
        record.devices[1].seen.retain(|seen| !matches!(seen.what, What::EditSent { .. }));
    }),
    ("a message shows an edit that is not among the events", Rule::History, |record| {
        edited(record);
        stored(record, 9).kind = Kind::Edited { id: message_id(1), state: None };
    }),
    ("a state of a message is another for somebody", Rule::Content, |record| {
        edited(record);
        let state = State { seq: 9, text: Text::of("another") };
        *last_of(record, 0, is_edit) = at(9, Kind::Edited { id: message_id(4), state: Some(state) });
    }),
    ("a client is not shown an edit", Rule::Incomplete, |record| {
        edited(record);
        *last_of(record, 0, is_edit) = at(9, Kind::Edited { id: message_id(4), state: None });
    }),
    ("an edit is refused for no reason", Rule::Refused, |record| {
        edited(record);
        after(record, 1, is_edit, What::EditRefused { room: 0, code: "not_the_author".to_owned() });
    }),
    ("a frame can't be read", Rule::Strange, |record| {
        after(record, 0, is_ack, What::Strange { text: "x".to_owned() });
    }),
];

#[test]
fn each_planted_fault_is_found() {
    for (what, rule, plant) in PLANTED {
        let mut record = honest();
        plant(&mut record);
        let found = judge(&record);
        assert!(found.rules().contains(rule), "{what}: {:?}", found.told());
    }
}

/// A client joins again, and is removed before the second page.
fn second_join_before_removal(record: &mut Record) -> Page {
    let whole = match first_of(record, 0, is_page).clone() {
        What::Page(page) => page,
        other => panic!("{other:?}"),
    };
    let place = seen_live(record, 1, 4);
    let asked = record.devices[1].seen[place].at;
    let joined = Joined { room: 0, since: 0, asked, seq: 4, recovered: true, reason: None };
    let first = Page { more: true, ..whole };
    for (number, what) in [What::Joined(joined), What::Page(first)].into_iter().enumerate() {
        let mut seen = record.devices[1].seen[place].clone();
        seen.what = what;
        record.devices[1].seen.insert(place + 1 + number, seen);
    }
    let messages = vec![event(3, message(1, 0, "m1", "m1")), event(4, message(2, 1, "m2", "m2"))];
    Page { room: 0, from: 3, to: 4, more: false, messages, others: Vec::new() }
}

#[test]
fn a_removal_ends_a_second_join_under_way() {
    let mut record = honest();
    second_join_before_removal(&mut record);
    assert_eq!(judge(&record).told(), Vec::<String>::new());
}

#[test]
fn every_rule_has_a_planted_fault() {
    for rule in Rule::ALL {
        assert!(PLANTED.iter().any(|(_, planted, _)| planted == rule), "{rule:?}");
    }
}

#[test]
fn what_is_reported_names_the_place_and_is_not_endless() {
    let mut record = honest();
    for number in 0..100 {
        after(&mut record, 0, is_ack, What::Strange { text: format!("frame {number}") });
    }
    let told = judge(&record).told();
    assert!(told.len() < 20 && told.last().unwrap().ends_with("more"), "{told:?}");
    assert!(told[0].starts_with("[strange] client 0 (user 0), connection 2"), "{}", told[0]);
}
