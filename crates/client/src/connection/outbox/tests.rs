use std::collections::HashMap;
use std::time::Duration;

use chatsphere_types::Timestamp;
use proptest::prelude::*;

use super::*;

fn outbox(most: usize) -> Outbox<usize> {
    let mut outbox = Outbox::new(true);
    outbox.set_most_in_flight(most);
    outbox
}

fn room() -> RoomId {
    RoomId::new(Timestamp::from_millis(1))
}

fn id(text: &str) -> String {
    match Incoming::parse(text).unwrap().frame {
        ClientFrame::Message { client_message_id, .. } => client_message_id.unwrap().into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_sent_again_bears_the_same_id() {
    let (now, mut outbox) = (Instant::now(), Outbox::new(false));
    outbox.set_most_in_flight(8);
    outbox.push(room(), "a".into(), 1);
    outbox.push(room(), OutgoingMessage::new("b").client_message_id("own"), 2);
    let first: Vec<_> = std::iter::from_fn(|| outbox.next(now, |_| false)).collect();
    assert_eq!((first.len(), id(&first[1].1)), (2, "own".to_owned()));
    outbox.disconnected();
    let second: Vec<_> = std::iter::from_fn(|| outbox.next(now, |_| false)).collect();
    assert_eq!(first, second);
    assert_eq!(outbox.answered(first[0].0), Some(1));
    assert_eq!(outbox.answered(first[0].0), None);
}

#[test]
fn no_more_than_the_server_answers_at_once() {
    let (now, mut outbox) = (Instant::now(), outbox(2));
    (0..5).for_each(|reply| outbox.push(room(), "x".into(), reply));
    let (first, _) = outbox.next(now, |_| false).unwrap();
    outbox.next(now, |_| false).unwrap();
    assert!(outbox.next(now, |_| false).is_none());
    outbox.answered(first);
    assert!(outbox.next(now, |_| false).is_some());
}

#[test]
fn in_a_room_each_waits_for_the_answer_before() {
    let (now, mut outbox) = (Instant::now(), outbox(8));
    let (one, other) = (room(), room());
    for (room, reply) in [(one, 1), (one, 2), (other, 3), (one, 4), (other, 5)] {
        outbox.push(room, "x".into(), reply);
    }
    let due = |outbox: &mut Outbox<usize>, now| -> Vec<u64> {
        std::iter::from_fn(|| outbox.next(now, |_| false)).map(|(number, _)| number).collect()
    };
    assert_eq!(due(&mut outbox, now), [1, 3]);
    // Temporarily rejected: it is sent before later messages.
    let later = now + Duration::from_secs(1);
    outbox.postponed(1, later);
    outbox.answered(3);
    assert!(due(&mut outbox, now).is_empty());
    assert_eq!(due(&mut outbox, later), [1, 5]);
    outbox.answered(1);
    assert_eq!(due(&mut outbox, later), [2]);
    // Permanently rejected, or lost with the connection.
    outbox.answered(2);
    assert_eq!(due(&mut outbox, later), [4]);
    outbox.disconnected();
    assert_eq!(due(&mut outbox, later), [4, 5]);
}

#[test]
fn a_wait_holds_all_and_keeps_their_order() {
    let (now, mut outbox) = (Instant::now(), outbox(2));
    (0..3).for_each(|reply| outbox.push(room(), "x".into(), reply));
    let (first, _) = outbox.next(now, |_| false).unwrap();
    let later = now + Duration::from_secs(1);
    outbox.postponed(first, later);
    assert!(outbox.next(now, |_| false).is_none());
    assert_eq!(outbox.wakes_at(), Some(later));
    assert_eq!(outbox.next(later, |_| false).unwrap().0, first);
}

#[test]
fn what_was_given_up_before_it_was_sent_is_not_sent() {
    let (now, mut outbox) = (Instant::now(), outbox(8));
    (0..3).for_each(|reply| outbox.push(room(), "x".into(), reply));
    let (first, _) = outbox.next(now, |reply| *reply == 1).unwrap();
    // A message that was sent may be stored: it is kept until it is answered.
    outbox.disconnected();
    assert_eq!(outbox.next(now, |_| true).unwrap().0, first);
    assert!(outbox.next(now, |reply| *reply != 2).is_some_and(|(number, _)| number == 3));
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Send,
    Answer(u8),
    Postpone(u8),
    Disconnect,
}

proptest! {
    #[test]
    fn every_message_is_answered_once_under_one_id_and_in_order(
        steps in proptest::collection::vec(
            prop_oneof![
                Just(Step::Push), Just(Step::Send), any::<u8>().prop_map(Step::Answer),
                any::<u8>().prop_map(Step::Postpone), Just(Step::Disconnect),
            ],
            0..200,
        ),
        most in 1usize..5,
    ) {
        let (mut now, mut outbox) = (Instant::now(), outbox(most));
        let (mut pushed, mut flying, mut ids, mut answered) = (0, Vec::new(), HashMap::new(), Vec::new());
        let rooms = [room(), room()];
        let finish = std::iter::repeat_n([Step::Disconnect, Step::Send, Step::Answer(0)], 200).flatten();
        for step in steps.into_iter().chain(finish) {
            match step {
                Step::Push => { pushed += 1; outbox.push(rooms[pushed % 2], "x".into(), pushed); }
                Step::Send => {
                    now += Duration::from_secs(1);
                    if let Some((number, text)) = outbox.next(now, |_| false) {
                        prop_assert!(!flying.contains(&number));
                        prop_assert_eq!(ids.entry(number).or_insert_with(|| id(&text)).clone(), id(&text));
                        flying.push(number);
                    }
                }
                Step::Answer(which) if !flying.is_empty() => {
                    let number = flying.remove(usize::from(which) % flying.len());
                    answered.extend(outbox.answered(number));
                }
                Step::Postpone(which) if !flying.is_empty() => {
                    let number = flying.remove(usize::from(which) % flying.len());
                    outbox.postponed(number, now + Duration::from_millis(500));
                }
                Step::Disconnect => { flying.clear(); outbox.disconnected(); }
                Step::Answer(_) | Step::Postpone(_) => {}
            }
            prop_assert!(flying.len() <= most);
        }
        for room in 0..2 {
            prop_assert!(answered.iter().filter(|reply| *reply % 2 == room).is_sorted(), "{:?}", answered);
        }
        answered.sort_unstable();
        prop_assert_eq!(answered, (1..=pushed).collect::<Vec<_>>());
    }
}
