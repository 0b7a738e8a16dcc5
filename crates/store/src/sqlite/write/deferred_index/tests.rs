use chatsphere_core::store::{Cursor, MessageFilter, PageRequest};
use chatsphere_core::{MessageId, RoomId, Timestamp, UserId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::sqlite::connection;
use crate::sqlite::migrations::migrate;
use crate::sqlite::read;

const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

/// A message that the file must have.
#[derive(Debug, Clone)]
struct Stored {
    id: MessageId,
    pk: i64,
    room: usize,
    user: usize,
    client_id: Option<String>,
}

struct World {
    connection: Connection,
    lists: DeferredIndex,
    /// The users with the keys of their rows.
    users: Vec<(i64, UserId)>,
    rooms: Vec<(i64, RoomId)>,
    stored: Vec<Stored>,
    random: StdRng,
}

impl World {
    fn new(path: &std::path::Path, seed: u64) -> Self {
        let mut connection = connection::open(path).unwrap();
        migrate("test", &mut connection).unwrap();
        let (mut users, mut rooms) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let id = UserId::new(START);
            let user =
                "INSERT INTO users (id, username, role, disabled, created_at, updated_at) VALUES (?1, ?2, 'MEMBER', 0, 0, 0)";
            connection.execute(user, (id.as_bytes(), format!("user {number}"))).unwrap();
            users.push((connection.last_insert_rowid(), id));
        }
        for _ in 0..3 {
            let id = RoomId::new(START);
            let room = "INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
                        VALUES (?1, 'room', ?2, 0, 0, 1, 0, 0)";
            connection.execute(room, (id.as_bytes(), users[0].0)).unwrap();
            let room_pk = connection.last_insert_rowid();
            rooms.push((room_pk, id));
            connection
                .execute(
                    "INSERT INTO members (room_pk, user_pk, joined_seq) VALUES (?1, ?2, 1)",
                    (room_pk, users[rooms.len()].0),
                )
                .unwrap();
        }
        let random = StdRng::seed_from_u64(seed);
        Self { connection, lists: DeferredIndex::default(), users, rooms, stored: Vec::new(), random }
    }

    /// Runs a transaction of some messages, which may be rolled back.
    fn transact(&mut self) {
        let before = self.stored.clone();
        self.connection.execute_batch("BEGIN").unwrap();
        for _ in 0..self.random.random_range(1..6) {
            self.send();
        }
        self.lists.enter(&self.connection).unwrap();
        if self.random.random_ratio(1, 8) {
            self.connection.execute_batch("ROLLBACK").unwrap();
            self.lists.forget();
            self.stored = before;
        } else {
            self.connection.execute_batch("COMMIT").unwrap();
        }
        if self.random.random_ratio(1, 10) {
            // The server restarts.
            self.lists = DeferredIndex::default();
        }
    }

    /// Stores a message, unless its `clientMessageId` is stored already.
    fn send(&mut self) {
        let (room, user) = (self.random.random_range(0..self.rooms.len()), self.random.random_range(0..self.users.len()));
        let client_id = self.random.random_ratio(3, 4).then(|| self.random.random_range(0..60).to_string());
        if let Some(client_id) = &client_id {
            let same =
                |stored: &&Stored| (stored.room, stored.user) == (room, user) && stored.client_id.as_ref() == Some(client_id);
            let expected = self.stored.iter().find(same).map(|stored| stored.pk);
            let found = self.lists.find(&self.connection, self.users[user].0, self.rooms[room].0, client_id).unwrap();
            assert_eq!(found, expected, "{client_id} of {user} in {room}");
            if found.is_some() {
                return;
            }
        }
        let id = MessageId::new(START);
        let insert = "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
                      VALUES (?1, ?2, ?3, ?4, 'x', ?5, 0, 0)";
        let (room_pk, user_pk, seq) = (self.rooms[room].0, self.users[user].0, self.stored.len() as i64 + 1);
        self.connection.execute(insert, (id.as_bytes(), room_pk, seq, user_pk, &client_id)).unwrap();
        let pk = self.connection.last_insert_rowid();
        let listed = Listed { pk, room_pk, user_pk, client_id: client_id.as_deref() };
        self.lists.add(&self.connection, listed).unwrap();
        self.stored.push(Stored { id, pk, room, user, client_id });
    }

    /// Compares an author's messages, in pages: all, those of one room, or those that a user may read. Each room has one
    /// member.
    fn check_author(&mut self) {
        let (user, limit) = (self.random.random_range(0..self.users.len()), self.random.random_range(1..12));
        let room = self.random.random_ratio(1, 3).then(|| self.random.random_range(0..self.rooms.len()));
        let reader = self.random.random_ratio(1, 3).then(|| self.random.random_range(0..self.users.len()));
        let filter = MessageFilter {
            author: Some(self.users[user].1),
            seen_by: reader.map(|reader| self.users[reader].1),
            rooms: room.map(|room| vec![self.rooms[room].1]),
        };
        let (mut found, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let page = read::messages::messages(&self.connection, &filter, PageRequest { cursor, limit });
            let page = page.unwrap_or_else(|_| panic!("a page can't be read"));
            found.extend(page.items.into_iter().map(|item| item.message.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let is_one = |stored: &&Stored| {
            stored.user == user
                && room.is_none_or(|room| stored.room == room)
                && reader.is_none_or(|reader| reader == stored.room + 1)
        };
        let expected: Vec<MessageId> = self.stored.iter().rev().filter(is_one).map(|stored| stored.id).collect();
        assert_eq!(found, expected);
    }

    /// Returns the number of messages in the file, and of those that the lists may lack.
    fn lacking(&self) -> (i64, i64) {
        let sql = "SELECT count(*), count(*) FILTER (WHERE pk > (SELECT up_to FROM messages_listed)) FROM messages";
        self.connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }
}

#[test]
fn messages_are_found_whether_they_are_entered_or_not() {
    let seeds = match std::env::var("CHATSPHERE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..8).map(|_| rand::random()).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        println!("CHATSPHERE_TEST_SEED={seed}");
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(&dir.path().join("chat.db"), seed);
        for _ in 0..200 {
            world.transact();
            world.check_author();
        }
        let (all, lacking) = world.lacking();
        assert!(all > 200 && lacking < 4 * RUN as i64, "{lacking} of {all} are in no list");
        let lists = "SELECT (SELECT count(*) FROM messages_by_author), (SELECT count(*) FROM messages_by_client_id)";
        let (by_author, by_client_id): (i64, i64) =
            world.connection.query_row(lists, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert!(by_author >= all - lacking && by_client_id > (all - lacking) / 2);
    }
}

#[test]
fn few_messages_touch_no_list() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&dir.path().join("chat.db"), 1);
    world.connection.execute_batch("BEGIN").unwrap();
    while world.stored.len() < RUN - 1 {
        world.send();
    }
    world.lists.enter(&world.connection).unwrap();
    world.connection.execute_batch("COMMIT").unwrap();
    let listed: i64 = world.connection.query_row("SELECT count(*) FROM messages_by_author", (), |row| row.get(0)).unwrap();
    assert_eq!((listed, world.lacking()), (0, (RUN as i64 - 1, RUN as i64 - 1)));
}
