use std::collections::BTreeMap;

use chatsphere_core::store::{IDEMPOTENCY_KEPT, Idempotency};
use chatsphere_core::{Actor, Content, Forbidden, MessageId, Timestamp, UserRef, Username};
use proptest::prelude::*;

use super::*;
use crate::write::FoundRecord;
use crate::write::database::{Author, RoomHead};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn room(number: u8) -> RoomId {
    RoomId::from_bytes([number; 16])
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

fn idempotency(key: u8, body: u8) -> Idempotency {
    Idempotency { key: [key; 32], body: [body; 32], unkeyed_body: [body | 128; 32] }
}

fn client_id(number: u8) -> ClientMessageId {
    ClientMessageId::from_stored(number.to_string())
}

/// Facts about rooms 0 to 2, where room n has `seq` 10 × n, and about users 0 to 2, of whom user 2 is a member of no room.
fn facts() -> AppendFacts {
    let mut facts = AppendFacts::default();
    for number in 0..3_u8 {
        facts
            .rooms
            .insert(room(number), RoomHead { pk: number.into(), seq: Seq::new(u64::from(number) * 10), has_removed: false });
        let name = UserRef { id: user(number), username: Username::from_stored(format!("user {number}")) };
        facts.authors.insert(user(number), Author { pk: number.into(), user: name });
        facts.members.extend([(room(number), user(0)), (room(number), user(1))]);
    }
    facts
}

fn message(room_id: RoomId, author: UserId, text: &str) -> NewMessage {
    NewMessage {
        id: MessageId::from_bytes([1; 16]),
        room_id,
        author,
        access: Access::Member(author),
        actor: Actor::Operator,
        content: Content::from_stored(text.to_owned()),
        client_message_id: None,
        idempotency: None,
        at: NOW,
    }
}

fn decided(messages: &[NewMessage], facts: &AppendFacts) -> Decision {
    decide(&messages.iter().collect::<Vec<_>>(), facts, &mut Quota::default())
}

#[test]
fn each_room_continues_from_its_seq() {
    let messages = [room(2), room(0), room(2), room(0)].map(|room| message(room, user(0), "x"));
    let decision = decided(&messages, &facts());
    let seqs: Vec<_> = decision.rows.iter().map(|row| (row.room_pk, row.message.seq.get())).collect();
    assert_eq!(seqs, [(2, 21), (0, 1), (2, 22), (0, 2)]);
    let expected = [(2, 22), (0, 2)].map(|(pk, seq)| RoomAdvance { pk, seq: Seq::new(seq), messages: 2 });
    assert_eq!(decision.rooms, expected);
}

#[test]
fn a_refused_message_takes_no_number() {
    let messages = [message(room(0), user(2), "no member"), message(room(0), user(0), "x")];
    let decision = decided(&messages, &facts());
    assert_eq!(decision.answers[0], Err(Forbidden::NotAMember.into()));
    assert_eq!(decision.answers[1].as_ref().unwrap().value.seq, Seq::new(1));
}

#[test]
fn a_key_counts_for_a_day() {
    let mut new = message(room(0), user(0), "x");
    new.idempotency = Some(idempotency(1, 1));
    let first = decided(&[new.clone()], &facts()).rows.remove(0).message;
    let mut facts = facts();
    facts.answered.insert((room(0), first.seq), first.clone());
    let outcome = Some(Outcome::Message { room: room(0), seq: first.seq });
    facts.records.insert([1; 32], FoundRecord { body: [1; 32], outcome, at: NOW });

    let same = decided(&[new.clone()], &facts);
    assert_eq!(same.answers, [Ok(Done { value: first, replayed: true })]);
    assert!(same.rows.is_empty() && same.records.is_empty());
    new.idempotency = Some(idempotency(1, 2));
    assert_eq!(decided(&[new.clone()], &facts).answers, [Err(Conflict::IdempotencyKeyReused.into())]);
    new.at = Timestamp::from_millis(NOW.after(IDEMPOTENCY_KEPT).as_millis() + 1);
    let later = decided(&[new], &facts);
    assert_eq!((later.rows.len(), later.records.len()), (1, 1));
}

#[test]
fn a_replay_by_the_clients_id_is_kept_under_the_key() {
    let mut first = message(room(0), user(0), "x");
    first.client_message_id = Some(client_id(1));
    let mut second = first.clone();
    second.idempotency = Some(idempotency(1, 1));
    let decision = decided(&[first, second], &facts());
    assert_eq!((decision.rows.len(), decision.records.len()), (1, 1));
    assert!(decision.answers[1].as_ref().unwrap().replayed);
}

fn any_message() -> impl Strategy<Value = NewMessage> {
    let idempotency = prop::option::of((0..4_u8, 0..2_u8));
    (0..4_u8, 0..4_u8, any::<bool>(), "[ab]", prop::option::of(0..3_u8), idempotency).prop_map(
        |(room_number, author, any, text, client, idempotency)| NewMessage {
            access: if any { Access::Any } else { Access::Member(user(author)) },
            client_message_id: client.map(client_id),
            idempotency: idempotency.map(|(key, body)| super::tests::idempotency(key, body)),
            ..message(room(room_number), user(author), &text)
        },
    )
}

proptest! {
    #[test]
    fn rooms_have_no_gaps_and_answers_match_the_rows(messages in prop::collection::vec(any_message(), 0..60)) {
        let facts = facts();
        let decision = decided(&messages, &facts);
        prop_assert_eq!(decision.answers.len(), messages.len());

        let mut heads: BTreeMap<i64, u64> = facts.rooms.values().map(|room| (room.pk, room.seq.get())).collect();
        for row in &decision.rows {
            let head = heads.get_mut(&row.room_pk).unwrap();
            *head += 1;
            prop_assert_eq!(row.message.seq.get(), *head);
        }
        for advance in &decision.rooms {
            prop_assert_eq!(heads[&advance.pk], advance.seq.get());
            let rows = decision.rows.iter().filter(|row| row.room_pk == advance.pk).count();
            prop_assert_eq!(usize::try_from(advance.messages), Ok(rows));
        }

        let stored: Vec<_> = decision.rows.iter().map(|row| &row.message).collect();
        let new: Vec<_> = decision.answers.iter().flatten().filter(|done| !done.replayed).map(|done| &done.value).collect();
        prop_assert_eq!(&new, &stored);
        for (message, answer) in messages.iter().zip(&decision.answers) {
            if let Ok(done) = answer {
                prop_assert!(stored.contains(&&done.value));
                let own = done.value.author.id == message.author && done.value.room_id == message.room_id;
                prop_assert!(own || message.idempotency.is_some());
            }
        }
        let mut client_ids: Vec<_> = stored
            .iter()
            .filter_map(|message| {
                let client_id = message.client_message_id.clone()?;
                Some((message.room_id, message.author.id, client_id.as_str().to_owned()))
            })
            .collect();
        client_ids.sort();
        let mut keys: Vec<_> = decision.records.iter().map(|record| record.idempotency.key).collect();
        keys.sort_unstable();
        prop_assert!(client_ids.windows(2).all(|pair| pair[0] != pair[1]));
        prop_assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
