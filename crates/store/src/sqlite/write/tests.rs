use std::sync::Arc;

use chatsphere_core::store::NewMessage;
use chatsphere_core::{Access, Actor, ClientMessageId, Content, Limits, Message, MessageId, RoomId, Seq, Timestamp, UserId};
use tokio::time::Instant;

use super::*;
use crate::sqlite::checkpoint::checkpoints;
use crate::sqlite::{connection, migrations};
use crate::write::database::{IdMap, MessageRow, Messages, RoomAdvance};

const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

/// Stores a message in a transaction. Returns whether its `clientMessageId` was known before.
async fn store(writer: &mut SqliteWriter, room_id: RoomId, author: UserId, client_id: &str, commit: bool) -> bool {
    let client_message_id = ClientMessageId::parse(client_id.to_owned(), &Limits::default()).unwrap();
    let content = Content::parse("x".to_owned(), &Limits::default()).unwrap();
    let new = NewMessage {
        id: MessageId::new(START),
        room_id,
        author,
        access: Access::Any,
        actor: Actor::Operator,
        content: content.clone(),
        client_message_id: Some(client_message_id.clone()),
        idempotency: None,
        at: START,
    };
    writer.begin(&[room_id], false, Instant::now()).await.unwrap_or_else(|_| panic!("no transaction"));
    let facts = writer.append_facts(&[&new], IdMap::default()).await.unwrap_or_else(|_| panic!("no facts"));
    let known = !facts.sent.is_empty();
    if !known {
        let (head, author) = (facts.rooms[&room_id], facts.authors[&author].clone());
        let message = Message {
            id: new.id,
            room_id,
            seq: head.seq.next(),
            author: author.user,
            content,
            client_message_id: Some(client_message_id),
            created_at: START,
            updated_at: START,
            details: None,
        };
        let advance = RoomAdvance { pk: head.pk, seq: head.seq.next(), messages: 1 };
        let rows = [MessageRow { room_pk: head.pk, author_pk: author.pk, message }];
        writer.insert_messages(&rows, &[advance]).await.unwrap_or_else(|_| panic!("not inserted"));
    }
    if commit {
        writer.commit().await.unwrap_or_else(|_| panic!("not committed"));
    } else {
        writer.rollback().await;
    }
    known
}

#[tokio::test]
async fn what_was_rolled_back_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = connection::open(&dir.path().join("chat.db")).unwrap();
    migrations::migrate("test", &mut connection).unwrap();
    let (room, author) = (RoomId::new(START), UserId::new(START));
    connection
        .execute(
            "INSERT INTO users (pk, id, username, role, disabled, created_at, updated_at) VALUES (1, ?1, 'ada', \
     'MEMBER', 0, 0, 0)",
            [author.as_bytes()],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO rooms (pk, id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
         VALUES (1, ?1, 'room', 1, 0, 0, 1, 0, 0)",
            [room.as_bytes()],
        )
        .unwrap();
    let (checkpoints, _orders) = checkpoints();
    let disk = Arc::new(Disk::new(&dir.path().join("chat.db"), None, Arc::new(crate::space::Space::new(true))));
    let mut writer = SqliteWriter::new(connection, Arc::new(Health::new("writing")), checkpoints, disk, None);

    assert!(!store(&mut writer, room, author, "undone", false).await);
    // This message gets the same key as the one that was rolled back.
    assert!(!store(&mut writer, room, author, "done", true).await);
    assert!(!store(&mut writer, room, author, "undone", false).await, "it would be answered with another's message");
    assert!(store(&mut writer, room, author, "done", true).await);
    assert_eq!(writer.known.rooms.peek(&room).unwrap().seq, Seq::new(1));
}
