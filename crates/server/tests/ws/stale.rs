//! Tests that a node that can't check rights delivers no events of other nodes until it can.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chatsphere_core::authority::STALE_AFTER;
use chatsphere_core::ops::{self, PostMessage};
use chatsphere_core::{AppContext, Caller, Clock, RoomId, Timestamp, UserId, UserRef};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::client::{AMPLE, Client, number};
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT};
use crate::server::{Server, Setup, elsewhere, elsewhere_on_a_bus, nats};
use crate::support::Person;

on_every_database!(
    what_another_node_wrote_waits_until_it_is_known_who_may_read_it,
    what_the_bus_brings_waits_too,
    a_replay_stops_when_it_is_not_known_who_may_read,
    a_clock_that_is_set_back_permits_no_delivery,
);

/// Another process on the same database.
struct Other {
    chat: Arc<AppContext>,
    operator: Caller,
}

impl Other {
    async fn new(server: &Server, chat: Arc<AppContext>) -> Self {
        let admin = chat.store.user(server.admin_id).await.unwrap().unwrap();
        let operator = Caller::operator(UserRef::from(&admin), chat.clock.now());
        Self { chat, operator }
    }

    async fn revoke(&self, token: &Person) {
        ops::revoke_token(&self.chat, &self.operator, token.token_id.parse().unwrap()).await.unwrap();
    }

    async fn post(&self, room: RoomId, author: UserId) {
        let content = "not for everyone".to_owned();
        let message = PostMessage { room_id: room, content, client_message_id: None, author: Some(author), idempotency: None };
        ops::post_message(&self.chat, &self.operator, message).unwrap().await.unwrap();
    }
}

/// Waits until events of other nodes were withheld this often.
async fn withheld(server: &Server, times: usize) {
    let waiting = async {
        while server.withheld.load(Ordering::SeqCst) < times {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(AMPLE, waiting).await.expect("nothing asks whether it is known who may read");
}

async fn is_stale(client: &mut Client) {
    assert_eq!(client.ask(json!({ "type": "ping" })).await["code"], "authority_stale");
}

async fn what_another_node_wrote_waits_until_it_is_known_who_may_read_it(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let (mut revoked, mut stays) = (server.connect(&ada.token).await, server.connect(&bob.token).await);
    let seq = revoked.join(room, json!({})).await.to_seq();
    stays.join(room, json!({})).await;

    let other = Other::new(&server, elsewhere(&database).await).await;
    server.backend.clock.advance(STALE_AFTER + Duration::from_millis(1));
    other.revoke(&ada).await;
    other.post(room, bob.id).await;
    // Twice, because the first reading may have begun before the message was stored.
    withheld(&server, 2).await;
    is_stale(&mut revoked).await;
    is_stale(&mut stays).await;

    server.advance(Duration::ZERO).await;
    revoked.refused("token_revoked").await;
    revoked.closed(4501).await;
    let message = stays.expect("new_message").await;
    assert_eq!((message["seq"].as_u64(), &message["message"]["content"]), (Some(seq + 1), &json!("not for everyone")));
    stays.quiet().await;
    other.chat.store.close().await;
}

async fn what_the_bus_brings_waits_too(database: Arc<Database>) {
    let Some(nats) = nats().await else { return };
    let setup = Setup { follows_control_log: false, nats: Some(nats.url()), ..Setup::default() };
    let server = Server::start_with(&database, setup).await;
    let (room, ada, bob) = server.pair().await;
    let (mut revoked, mut stays) = (server.connect(&ada.token).await, server.connect(&bob.token).await);
    let seq = revoked.join(room, json!({})).await.to_seq();
    stays.join(room, json!({})).await;

    let (chat, _link) = elsewhere_on_a_bus(&database, &nats.url(), server.backend.clock.clone()).await;
    let other = Other::new(&server, chat).await;
    server.backend.clock.advance(STALE_AFTER + Duration::from_millis(1));
    other.revoke(&ada).await;
    // The comparison with the store runs once in 1.5 s, so this many events were withheld from the bus.
    let (mut posted, mut looks) = (0, 0);
    while looks < 100 {
        other.post(room, bob.id).await;
        posted += 1;
        looks = server.withheld.load(Ordering::SeqCst);
        assert!(posted < 20_000, "the bus brings nothing");
    }
    is_stale(&mut revoked).await;
    is_stale(&mut stays).await;

    server.advance(Duration::ZERO).await;
    revoked.refused("token_revoked").await;
    revoked.closed(4501).await;
    for n in 1..=posted {
        assert_eq!(stays.expect("new_message").await["seq"], seq + n);
    }
    stays.quiet().await;
    other.chat.store.close().await;
}

async fn a_replay_stops_when_it_is_not_known_who_may_read(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    for _ in 0..6 {
        server.fill(room, &ada, (0..100).map(|_| "x".repeat(30 * 1024))).await;
    }
    let mut raw = Raw::connect_narrow(server.addr, &bob.token).await;
    raw.send(&json!({ "type": "join", "roomId": room, "since": 0, "ref": "first" })).await;
    assert_eq!(raw.read().await.json()["type"], "join_confirmation");
    server.backend.clock.advance(STALE_AFTER + Duration::from_millis(1));
    // Frames in the socket's queue may still arrive. Of the 18 MB, the rest must not.
    let (mut cursor, error) = pages(&mut raw, 0).await;
    let error = error.expect("the replay went on to its end");
    let expected = (&json!("error"), &json!("authority_stale"), &json!(true), &json!("first"));
    assert_eq!((&error["type"], &error["code"], &error["retryable"], &error["ref"]), expected);

    // The log can be read again, and the client resumes from its cursor.
    server.advance(Duration::ZERO).await;
    raw.send(&json!({ "type": "join", "roomId": room, "since": cursor })).await;
    assert_eq!(raw.read().await.json()["type"], "join_confirmation");
    (cursor, _) = pages(&mut raw, cursor).await;
    assert_eq!(cursor, 602);
}

async fn a_clock_that_is_set_back_permits_no_delivery(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    client.join(room, json!({})).await;
    let clock = &server.backend.clock;
    clock.set_wall(Timestamp::from_millis(clock.now().as_millis() - 3_600_000));
    client.quiet().await;
    clock.advance(STALE_AFTER + Duration::from_millis(1));
    let other = Other::new(&server, elsewhere(&database).await).await;
    other.post(room, bob.id).await;
    withheld(&server, 2).await;
    is_stale(&mut client).await;
    server.advance(Duration::ZERO).await;
    client.expect("new_message").await;
    other.chat.store.close().await;
}

/// Reads a replay to its last page, or to the error that ends it. Returns the cursor and the error.
async fn pages(raw: &mut Raw, mut cursor: u64) -> (u64, Option<Value>) {
    loop {
        let frame = raw.read().await;
        if frame.first != TEXT {
            continue;
        }
        let page = frame.json();
        if page["type"] != "previous_messages" {
            return (cursor, Some(page));
        }
        assert_eq!(number(&page["fromSeq"]), cursor + 1);
        cursor = number(&page["toSeq"]);
        if page["more"] == false {
            return (cursor, None);
        }
    }
}
