use chatsphere_core::RoomId;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::Plan;

/// The number of rows of one statement.
const AT_ONCE: i64 = 200_000;
/// A version 7 UUID of a millisecond, whose random part the server generates.
const ID: &str = "(lpad(to_hex($1::bigint + g), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
    || '8' || substr(md5(random()::text), 1, 15))::uuid";

/// Writes the plan. Returns the number of rooms in the database.
pub(crate) async fn fill(url: &str, plan: &Plan) -> u64 {
    let (mut client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET synchronous_commit = off").await.unwrap();
    let at = plan.at.as_millis();
    let row = client
        .query_one(
            "INSERT INTO users (id, username, role, disabled, created_at, updated_at) VALUES ($1, $2, 'MEMBER', false, $3, $3)
             RETURNING pk",
            &[plan.user.as_uuid(), &plan.username(), &at],
        )
        .await
        .unwrap();
    let user_pk: i64 = row.get(0);

    for (id, count) in &plan.full {
        let room_pk = room(&mut client, *id, user_pk, at).await;
        let (mut written, count) = (0, count.cast_signed());
        while written < count {
            let some = AT_ONCE.min(count - written);
            messages(&mut client, plan, room_pk, user_pk, written, some).await;
            written += some;
        }
    }
    let mut missing = plan.rooms.cast_signed() - rooms(&client).await;
    while missing > 0 {
        let some = AT_ONCE.min(missing);
        empty_rooms(&client, user_pk, at, some).await;
        missing -= some;
    }
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
    rooms(&client).await.cast_unsigned()
}

async fn rooms(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM rooms", &[]).await.unwrap().get(0)
}

/// Inserts a room like the store: its first event is that its owner joined.
async fn room(client: &mut Client, id: RoomId, user_pk: i64, at: i64) -> i64 {
    let row = client
        .query_one(
            "WITH room AS (
                 INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
                 VALUES ($1, 'filled', $2, 1, 0, 1, $3, $3) RETURNING pk
             ), event AS (
                 INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at)
                 SELECT pk, 1, 'member_joined', $2, $2, $3 FROM room
             ), member AS (
                 INSERT INTO members (room_pk, user_pk, joined_seq) SELECT pk, $2, 1 FROM room
             )
             SELECT pk FROM room",
            &[id.as_uuid() as &Uuid, &user_pk, &at],
        )
        .await
        .unwrap();
    row.get(0)
}

async fn empty_rooms(client: &Client, user_pk: i64, at: i64, some: i64) {
    let statement = format!(
        "WITH room AS (
             INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
             SELECT {ID}, 'filled', $2, 1, 0, 1, $1, $1 FROM generate_series(1, $3::bigint) g RETURNING pk
         ), event AS (
             INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at)
             SELECT pk, 1, 'member_joined', $2, $2, $1 FROM room
         )
         INSERT INTO members (room_pk, user_pk, joined_seq) SELECT pk, $2, 1 FROM room"
    );
    client.execute(&statement, &[&at, &user_pk, &some]).await.unwrap();
}

async fn messages(client: &mut Client, plan: &Plan, room_pk: i64, user_pk: i64, written: i64, some: i64) {
    let transaction = client.transaction().await.unwrap();
    // Each message has its own millisecond, so that ids rise like those of real messages.
    let statement = format!(
        "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
         SELECT {ID}, $2, g + 2, $3, $4, NULL, $1 + g, $1 + g
         FROM generate_series($5::bigint, $5::bigint + $6::bigint - 1) g"
    );
    let content = plan.content();
    transaction.execute(&statement, &[&plan.at.as_millis(), &room_pk, &user_pk, &content, &written, &some]).await.unwrap();
    transaction
        .execute("UPDATE rooms SET seq = seq + $2, message_count = message_count + $2 WHERE pk = $1", &[&room_pk, &some])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}
