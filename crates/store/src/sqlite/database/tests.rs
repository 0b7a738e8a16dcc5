use std::sync::{Arc, mpsc};
use std::time::Duration;

use chatsphere_core::store::{UrgentReads, UserReads};
use chatsphere_core::{CommitSink, Committed, ControlPosition, RoomId, Store, Timestamp, TokenId, UserId};

use crate::fingerprints::{Fingerprint, KeyFingerprints};
use crate::options::OpenOptions;
use crate::sqlite::start::start;
use crate::url::DatabaseUrl;

struct NoSink;

impl CommitSink for NoSink {
    fn committed(&self, _: Committed) {}
}

#[tokio::test]
async fn urgent_reads_do_not_wait_behind_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let keys = KeyFingerprints {
        user: Fingerprint::new("user"),
        user_previous: None,
        client: Fingerprint::new("client"),
        client_previous: None,
        content: None,
        content_is_generated: false,
    };
    let options = OpenOptions::new(DatabaseUrl::sqlite(&path), keys, Arc::new(NoSink));
    let store = Arc::new(start(path, "sqlite", &options).unwrap());

    // There are more pages than readers, so the others wait.
    let mut busy = tokio::task::JoinSet::new();
    let mut release = Vec::new();
    for _ in 0..options.readers * 2 {
        let (end, ended) = mpsc::channel::<()>();
        release.push(end);
        let store = store.clone();
        busy.spawn(async move {
            let hold = move |_: &rusqlite::Connection| {
                let _ = ended.recv();
                Ok(())
            };
            store.database.readers.read(hold).await
        });
    }
    tokio::task::yield_now().await;
    let ordinary = tokio::time::timeout(Duration::from_millis(50), store.user(UserId::new(Timestamp::from_millis(1)))).await;
    assert!(ordinary.is_err());

    let urgent = async {
        assert_eq!(store.control_after(ControlPosition(0), 10).await, Ok(Vec::new()));
        assert_eq!(store.control_head().await, Ok(ControlPosition(0)));
        assert_eq!(store.token(TokenId::new(Timestamp::from_millis(1))).await, Ok(None));
        let nobody = UserId::new(Timestamp::from_millis(1));
        assert_eq!(store.room_relation(RoomId::new(Timestamp::from_millis(1)), nobody).await, Ok(None));
        assert_eq!(store.heads(&[RoomId::new(Timestamp::from_millis(1))]).await, Ok(Vec::new()));
        assert_eq!(store.ping().await, Ok(()));
        assert!(store.size().await.unwrap() > 4_096);
    };
    tokio::time::timeout(Duration::from_secs(5), urgent).await.unwrap();

    drop(release);
    for ended in busy.join_all().await {
        ended.unwrap();
    }
    store.close().await;
}
