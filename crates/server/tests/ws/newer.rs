//! Tests of events that a newer release has stored, during an upgrade or before a downgrade.

use std::sync::Arc;

use chatsphere_client::{ConnectOptions, EventKind, Update};
use chatsphere_core::Seq;
use serde_json::json;
use tokio::time::timeout;

use crate::client::{AMPLE, page_seqs};
use crate::database::Database;
use crate::on_every_database;
use crate::server::Server;

on_every_database!(an_unknown_event_fails_no_page);

/// Stores an event of a newer release, in the only room.
const PINNED: &str = r#"
    INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at, message_pk, body)
    SELECT r.pk, r.seq + 1, 'poll_opened', u.pk, u.pk, 1795341370473, (SELECT max(pk) FROM messages), '{"until":"tomorrow"}'
    FROM rooms r, users u WHERE u.username = 'ada';
    UPDATE rooms SET seq = seq + 1;
"#;

async fn an_unknown_event_fails_no_page(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut live = server.connect(&bob.token).await;
    live.join(room, json!({})).await;
    let rest = chatsphere_client::Client::new(&format!("http://{}", server.addr), bob.token.as_str()).unwrap();
    let (connection, mut updates) = rest.connect(ConnectOptions::default());
    connection.join(room).await.unwrap();

    server.fill(room, &ada, ["before".to_owned()]).await;
    let message = live.expect("new_message").await["message"].clone();
    database.execute(PINNED).await;
    server.fill(room, &ada, ["after".to_owned()]).await;

    let person = json!({ "id": ada.id, "username": "ada" });
    let pinned = json!({
        "type": "poll_opened", "roomId": room, "seq": 4, "until": "tomorrow", "messageId": message["id"], "messageSeq": 3,
        "user": person, "by": person, "createdAt": "2026-11-22T09:56:10.473Z",
    });
    // The next event reveals the gap, and the missing event is read from the store.
    assert_eq!(live.expect("poll_opened").await, pinned);
    assert_eq!(live.expect("new_message").await["seq"], 5);

    let events = server.events(room).await;
    assert_eq!(events.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(events[3], pinned);

    for since in [json!({}), json!({ "since": 2 })] {
        let joined = server.connect(&bob.token).await.join(room, since).await;
        let seqs = joined.pages.iter().flat_map(page_seqs).collect::<Vec<_>>();
        assert_eq!(seqs.last(), Some(&5), "{:?}", joined.pages);
        assert!(joined.pages.iter().any(|page| page["events"].as_array().unwrap().contains(&pinned)), "{:?}", joined.pages);
    }

    let mut seen = Vec::new();
    while seen.last() != Some(&5) {
        let update = timeout(AMPLE, updates.recv()).await.unwrap().expect("the connection lives");
        let Update::Event(event) = update else { continue };
        seen.push(event.seq.get());
        if event.seq.get() == 4 {
            let EventKind::Unknown { kind, body } = event.kind else { panic!("a kind that this client knows") };
            assert_eq!((&*kind, &body["until"]), ("poll_opened", &"tomorrow".into()));
        }
    }
    assert!(seen.is_sorted() && seen.contains(&4), "{seen:?}");
    let page = rest.events(room, Seq::new(3), None).await.unwrap();
    assert_eq!(page.items.iter().map(|event| event.seq.get()).collect::<Vec<_>>(), [4, 5]);
    assert!(matches!(&page.items[0].kind, EventKind::Unknown { kind, .. } if kind == "poll_opened"));
    connection.close().await;
}
