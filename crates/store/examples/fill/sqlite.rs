use chatsphere_core::{MessageId, RoomId, Timestamp};
use rusqlite::{Connection, OpenFlags, Transaction};

use crate::Plan;

/// The number of rows of one transaction.
const AT_ONCE: u64 = 200_000;

/// Writes the plan. Returns the number of rooms in the database.
pub(crate) fn fill(path: &str, plan: &Plan) -> u64 {
    // The file must exist, because the server creates its tables.
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection.pragma_update(None, "cache_size", -512_000).unwrap();
    let at = plan.at.as_millis();
    connection
        .execute(
            "INSERT INTO users (id, username, role, disabled, created_at, updated_at) VALUES (?1, ?2, 'MEMBER', 0, ?3, ?3)",
            (plan.user.as_bytes(), plan.username(), at),
        )
        .unwrap();
    let user_pk = connection.last_insert_rowid();

    for (id, count) in &plan.full {
        let transaction = connection.transaction().unwrap();
        let room_pk = room(&transaction, *id, user_pk, at);
        transaction.commit().unwrap();
        let mut written = 0;
        while written < *count {
            let some = AT_ONCE.min(count - written);
            let transaction = connection.transaction().unwrap();
            messages(&transaction, plan, room_pk, user_pk, written, some);
            transaction.commit().unwrap();
            written += some;
        }
    }
    list(&connection);
    let there = |connection: &Connection| {
        let count: i64 = connection.query_row("SELECT count(*) FROM rooms", (), |row| row.get(0)).unwrap();
        count.cast_unsigned()
    };
    let mut missing = plan.rooms.saturating_sub(there(&connection));
    while missing > 0 {
        let some = AT_ONCE.min(missing);
        let transaction = connection.transaction().unwrap();
        for _ in 0..some {
            room(&transaction, RoomId::new(plan.at), user_pk, at);
        }
        transaction.commit().unwrap();
        missing -= some;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
    there(&connection)
}

/// Inserts a room like the store: its first event is that its owner joined.
fn room(transaction: &Transaction<'_>, id: RoomId, user_pk: i64, at: i64) -> i64 {
    transaction
        .prepare_cached(
            "INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
             VALUES (?1, 'filled', ?2, 1, 0, 1, ?3, ?3)",
        )
        .unwrap()
        .execute((id.as_bytes(), user_pk, at))
        .unwrap();
    let room_pk = transaction.last_insert_rowid();
    transaction
        .prepare_cached(
            "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at) VALUES (?1, 1, 'member_joined', ?2, ?2, ?3)",
        )
        .unwrap()
        .execute((room_pk, user_pk, at))
        .unwrap();
    transaction
        .prepare_cached("INSERT INTO members (room_pk, user_pk, joined_seq) VALUES (?1, ?2, 1)")
        .unwrap()
        .execute((room_pk, user_pk))
        .unwrap();
    room_pk
}

/// Inserts all new messages into the lists.
fn list(connection: &Connection) {
    connection
        .execute_batch(
            "BEGIN;
             INSERT OR IGNORE INTO messages_by_author
             SELECT user_pk, pk FROM messages WHERE pk > (SELECT up_to FROM messages_listed) ORDER BY user_pk, pk;
             INSERT OR IGNORE INTO messages_by_client_id
             SELECT user_pk, room_pk, client_message_id, pk FROM messages
             WHERE pk > (SELECT up_to FROM messages_listed) AND client_message_id IS NOT NULL;
             UPDATE messages_listed SET up_to = (SELECT coalesce(max(pk), 0) FROM messages);
             COMMIT;",
        )
        .unwrap();
}

fn messages(transaction: &Transaction<'_>, plan: &Plan, room_pk: i64, user_pk: i64, written: u64, some: u64) {
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?6)",
        )
        .unwrap();
    let content = plan.content();
    for number in (written..written + some).map(u64::cast_signed) {
        // Each message has its own millisecond, so that ids rise like those of real messages.
        let at = plan.at.as_millis() + number;
        let id = MessageId::new(Timestamp::from_millis(at));
        insert.execute((id.as_bytes(), room_pk, number + 2, user_pk, &content, at)).unwrap();
    }
    let some = some.cast_signed();
    transaction
        .execute("UPDATE rooms SET seq = seq + ?2, message_count = message_count + ?2 WHERE pk = ?1", (room_pk, some))
        .unwrap();
}
