//! Tests that need access to the connection: a database that may not grow, and the length of the write-ahead log.

use chatsphere_core::store::{HistoryRange, NewMessage, NewRoom, NewUser};
use chatsphere_core::{
    Access, Actor, CommitSink, Committed, Content, Error, MessageId, Permissions, Role, RoomId, RoomName, Timestamp, Token,
    TokenId, TokenType, Unavailable, UserId, Username,
};

use super::*;
use crate::fingerprints::{Fingerprint, KeyFingerprints};
use crate::url::DatabaseUrl;

struct NoSink;

impl CommitSink for NoSink {
    fn committed(&self, _: Committed) {}
}

fn options(path: &Path) -> OpenOptions {
    let keys = KeyFingerprints {
        user: Fingerprint::new("user"),
        user_previous: None,
        client: Fingerprint::new("client"),
        client_previous: None,
        content: None,
        content_is_generated: false,
    };
    OpenOptions::new(DatabaseUrl::sqlite(path), keys, Arc::new(NoSink))
}

const AT: Timestamp = Timestamp::from_millis(1_800_000_000_000);

async fn room_with_owner(store: &Arc<dyn Store>) -> (RoomId, UserId) {
    let (user, room) = (UserId::new(AT), RoomId::new(AT));
    let token = Token {
        id: TokenId::new(AT),
        token_type: TokenType::User,
        user_id: user,
        permissions: Permissions::ALL,
        parent: None,
        email: None,
        created_at: AT,
        expires_at: AT,
        revoked_at: None,
    };
    let username = Username::from_stored("ada".to_owned());
    store
        .submit(NewUser { id: user, username, role: Role::Member, token, actor: Actor::Operator, idempotency: None, at: AT })
        .await
        .unwrap();
    let name = RoomName::from_stored("room".to_owned());
    store
        .submit(NewRoom { id: room, name, owner: user, by: user, actor: Actor::Operator, idempotency: None, at: AT })
        .await
        .unwrap();
    (room, user)
}

fn message(room: RoomId, author: UserId) -> NewMessage {
    NewMessage {
        id: MessageId::new(AT),
        room_id: room,
        author,
        access: Access::Member(author),
        actor: Actor::Operator,
        content: Content::from_stored("x".repeat(4096)),
        client_message_id: None,
        idempotency: None,
        at: AT,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let options = options(&path);
    let (mut connection, _) = prepare(&path, "sqlite:chat.db").unwrap();
    let epoch = installation::join("sqlite:chat.db", &mut connection, &options.keys).unwrap();
    connection.pragma_update_and_check(None, "max_page_count", 120, |_| Ok(())).unwrap();
    let store: Arc<dyn Store> = Arc::new(start_threads(path.clone(), "sqlite:chat.db", connection, epoch, &options).unwrap());
    let (room, ada) = room_with_owner(&store).await;
    let mut stored = 0;
    let refused = loop {
        match store.submit(message(room, ada)).await {
            Ok(done) => {
                stored += 1;
                assert_eq!(done.value.seq.get(), stored + 1);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::Unavailable(Unavailable::DiskFull));
    assert!(stored > 10);
    // Reads still work, and see nothing of the rejected writes.
    let history = store.history(room, Access::Any, HistoryRange::Newest, 1000).await.unwrap();
    assert_eq!((history.messages.len() as u64, history.head.get()), (stored, stored + 1));
    // Writes are rejected as long as there is no space. Then they succeed again, without a gap in the numbers.
    assert_eq!(store.submit(message(room, ada)).await, Err(Error::Unavailable(Unavailable::DiskFull)));
    store.close().await;
    let again = open(path, options).await.unwrap();
    assert_eq!(again.submit(message(room, ada)).await.unwrap().value.seq.get(), stored + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_beside_the_file_stays_short_under_load_and_goes_when_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(path.clone(), options(&path)).await.unwrap();
    let (room, ada) = room_with_owner(&store).await;
    let log = dir.path().join("chat.db-wal");
    let mut longest = 0;
    for _ in 0..100 {
        // Each round has about 4 MiB of contents.
        let pending: Vec<_> = (0..1000).map(|_| store.submit(message(room, ada))).collect();
        for pending in pending {
            pending.await.unwrap();
        }
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    // 400 MiB were written to the log.
    assert!(longest < 150 * 1024 * 1024, "{longest}");
    store.close().await;
    assert!(!log.exists());
}
