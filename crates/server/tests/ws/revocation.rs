//! Tests of how soon a change of rights takes effect under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chatsphere_core::{Affected, AuthorityListener, Caller, Error, TokenId, TokenRefusal, UserRef, ops};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::client::{AMPLE, Client};
use crate::database::Database;
use crate::on_every_database;
use crate::server::{Server, Setup, elsewhere};
use crate::support::Person;

on_every_database!(
    whoever_takes_long_to_judge_holds_up_nobody,
    an_abandoned_notification_is_repeated,
    renames_of_many_sockets_hold_up_no_revocation,
    a_rename_changes_no_rights,
);

/// A listener that waits for the test before it returns.
struct Slow {
    told: mpsc::UnboundedSender<Option<Vec<Affected>>>,
    may_end: Semaphore,
}

#[async_trait]
impl AuthorityListener for Slow {
    async fn authority_changed(&self, affected: Option<&[Affected]>) {
        self.told.send(affected.map(<[_]>::to_vec)).unwrap();
        self.may_end.acquire().await.unwrap().forget();
    }
}

fn slow() -> (Arc<Slow>, mpsc::UnboundedReceiver<Option<Vec<Affected>>>) {
    let (told, telling) = mpsc::unbounded_channel();
    (Arc::new(Slow { told, may_end: Semaphore::new(0) }), telling)
}

fn token_id(person: &Person) -> TokenId {
    person.token_id.parse().unwrap()
}

async fn whoever_takes_long_to_judge_holds_up_nobody(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let node = elsewhere(&database).await;
    let (listener, mut telling) = slow();
    let weak: Arc<dyn AuthorityListener> = listener.clone();
    node.authority.set_listener(Arc::downgrade(&weak));
    let authority = &node.authority;
    authority.poll(&*node.store).await.unwrap();
    assert!(authority.caller(&*node.store, token_id(&bob)).await.is_ok());

    server.call("PATCH", &format!("/api/users/{}", ada.id)).client().json(&json!({ "role": "MODERATOR" })).send().await.ok(200);
    let first = authority.read(&*node.store).await.unwrap();
    let tell = |reading| {
        let node = node.clone();
        tokio::spawn(async move { node.authority.notify(reading).await })
    };
    let judging = tell(first);
    assert_eq!(timeout(AMPLE, telling.recv()).await.unwrap(), Some(Some(vec![Affected::User(ada.id)])));

    server.delete(&format!("/api/tokens/{}", bob.token_id)).client().send().await.ok(200);
    let second = authority.read(&*node.store).await.unwrap();
    // The change applies to calls at once, although the listener has not returned.
    let refused = authority.caller(&*node.store, token_id(&bob)).await;
    assert_eq!(refused.err(), Some(Error::Token(TokenRefusal::Revoked)));
    let closing = tell(second);
    let revoked = Affected::Token(token_id(&bob));
    assert_eq!(timeout(AMPLE, telling.recv()).await.unwrap(), Some(Some(vec![revoked])));
    assert!(!judging.is_finished() && !closing.is_finished());

    // An op waits for the notifications of all earlier changes.
    listener.may_end.add_permits(1);
    assert!(!authority.is_notified(second));
    listener.may_end.add_permits(1);
    timeout(AMPLE, async { tokio::join!(judging, closing) }).await.unwrap().0.unwrap();
    assert!(authority.is_notified(second));
    node.store.close().await;
}

async fn an_abandoned_notification_is_repeated(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let node = elsewhere(&database).await;
    let (listener, mut telling) = slow();
    let weak: Arc<dyn AuthorityListener> = listener.clone();
    node.authority.set_listener(Arc::downgrade(&weak));
    node.authority.poll(&*node.store).await.unwrap();
    server.delete(&format!("/api/tokens/{}", ada.token_id)).client().send().await.ok(200);
    let reading = node.authority.read(&*node.store).await.unwrap();
    // The notifying task is cancelled, as the caller of an op may be.
    let telling_node = node.clone();
    let vanishing = tokio::spawn(async move { telling_node.authority.notify(reading).await });
    let first = timeout(AMPLE, telling.recv()).await.unwrap();
    vanishing.abort();
    assert!(vanishing.await.unwrap_err().is_cancelled());
    assert!(!node.authority.is_notified(reading));
    listener.may_end.add_permits(1);
    timeout(AMPLE, node.authority.poll(&*node.store)).await.unwrap().unwrap();
    assert_eq!(timeout(AMPLE, telling.recv()).await.unwrap(), first);
    assert!(node.authority.is_notified(reading));
    node.store.close().await;
}

/// There are far fewer sockets than would delay a node that checks each of them, but every step is covered.
async fn renames_of_many_sockets_hold_up_no_revocation(database: Arc<Database>) {
    const USERS: usize = 10;
    let sockets: usize = std::env::var("CHATSPHERE_TEST_SOCKETS_A_USER").map_or(20, |number| number.parse().unwrap());
    let server = Arc::new(Server::start_with(&database, Setup::default()).await);
    let node = elsewhere(&database).await;
    let admin = node.store.user(server.admin_id).await.unwrap().unwrap();
    let operator = Caller::operator(UserRef::from(&admin), node.clock.now());
    let mut people = Vec::new();
    let mut open = Vec::new();
    for n in 0..USERS {
        let person = server.user(&format!("user {n}")).await;
        let room = server.room("lobby", &person).await;
        for _ in 0..sockets {
            let mut client = server.connect(&person.token).await;
            client.join(room, json!({})).await;
            open.push(client);
        }
        people.push(person);
    }
    let going = Arc::new(AtomicBool::new(true));
    let mut renaming = tokio::task::JoinSet::new();
    for (n, person) in people.iter().enumerate() {
        let (node, going, id) = (node.clone(), going.clone(), person.id);
        let caller = node.authority.caller(&*node.store, token_id(person)).await.unwrap();
        assert!(caller.is(id));
        renaming.spawn(async move {
            for round in 0.. {
                if !going.load(Ordering::SeqCst) {
                    return round;
                }
                // A rename that exceeds the rate limit is rejected.
                let _ = ops::change_profile(&node, &caller, format!("user {n} {round}")).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            0
        });
    }
    let mut slowest = Duration::ZERO;
    for n in 0..5 {
        let victim = server.user(&format!("victim {n}")).await;
        let mut client = server.connect(&victim.token).await;
        ops::revoke_token(&node, &operator, token_id(&victim)).await.unwrap();
        let begun = Instant::now();
        client.refused("token_revoked").await;
        client.closed(4501).await;
        slowest = slowest.max(begun.elapsed());
    }
    going.store(false, Ordering::SeqCst);
    while let Some(rounds) = renaming.join_next().await {
        assert!(rounds.unwrap() > 0);
    }
    println!("slowest of 5 revocations beside {USERS} users with {sockets} sockets each: {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    for client in &mut open {
        client.quiet().await;
    }
    node.store.close().await;
}

async fn a_rename_changes_no_rights(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let mut client: Client = server.connect(&ada.token).await;
    client.join(room, json!({})).await;
    for name in ["lovelace", "ada again"] {
        server.call("PUT", "/api/auth/profile").bearer(&ada.token).json(&json!({ "username": name })).send().await.ok(200);
        // The next event has the user's current name.
        client.post(room, "x").await;
        assert_eq!(client.expect("new_message").await["message"]["user"]["username"], name);
        server.remove(room, &bob).await;
        server.post(&format!("/api/rooms/{room}/users"), &json!({ "userId": bob.id })).bearer(&ada.token).send().await.ok(200);
        assert_eq!(client.expect("member_left").await["user"]["username"], "bob");
        assert_eq!(client.expect("member_joined").await["by"]["username"], name);
        let profile = server.get("/api/auth/profile").bearer(&ada.token).send().await.ok(200);
        assert_eq!(profile["user"]["username"], name);
    }
    // A new role is checked, and so is a new state.
    server.call("PATCH", &format!("/api/users/{}", ada.id)).client().json(&json!({ "disabled": true })).send().await.ok(200);
    client.refused("user_disabled").await;
    client.closed(4501).await;
}
