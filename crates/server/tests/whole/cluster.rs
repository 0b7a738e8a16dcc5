//! Two nodes on one PostgreSQL database, with a NATS server that stops and restarts.

use std::time::{Duration, Instant};

use chatsphere_client::bodies::{CreateRoom, CreateUser};
use chatsphere_client::{Client, ConnectOptions, Connection, EventKind, Events, RoomId, Update};
use tokio::process::Command;
use tokio::time::timeout;

use crate::nats::Nats;
use crate::needs;
use crate::server::Server;

/// The bound for an event of another node, with or without NATS: 2 s, and more for a busy machine.
const BOUND: Duration = Duration::from_secs(10);
/// Rooms are compared with the database every 1.5 s. Events that repeatedly arrive sooner came over NATS.
const BUS: Duration = Duration::from_millis(750);

struct Person {
    connection: Connection,
    events: Events,
    seen: Vec<(u64, String)>,
}

impl Person {
    async fn join(server: &Server, token: &str, room: RoomId) -> Self {
        let (connection, events) = Client::new(&server.url(), token).unwrap().connect(ConnectOptions::default());
        connection.join(room).await.unwrap();
        Self { connection, events, seen: Vec::new() }
    }

    /// Reads until this message arrives. Returns how long that took.
    async fn see(&mut self, content: &str) -> Duration {
        let begun = Instant::now();
        while self.seen.last().is_none_or(|(_, seen)| seen != content) {
            let update = timeout(BOUND, self.events.recv()).await.unwrap_or_else(|_| panic!("{content:?} does not come"));
            if let Update::Event(event) = update.expect("the connection lives")
                && let EventKind::NewMessage { message } = event.kind
            {
                self.seen.push((event.seq.get(), message.content.into_owned()));
            }
        }
        begun.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_chat_with_the_bus_and_without() {
    let Some(program) = needs::nats_server() else { return };
    let Some(database) = needs::postgres_database().await else { return };
    let mut nats = Nats::start(&program).await;
    let directory = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_URL", database.url.clone()),
        ("NATS_URL", nats.url()),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef-user".to_owned()),
        ("JWT_API_SECRET", "0123456789abcdef0123456789abcdef-client".to_owned()),
        ("CHATSPHERE_CONTENT_KEY", "0123456789abcdef0123456789abcdef-content".to_owned()),
    ];
    let (data_a, data_b) = (directory.path().join("a"), directory.path().join("b"));
    let (a, b) = tokio::join!(Server::start(&data_a, 0, &environment), Server::start(&data_b, 0, &environment));
    assert!(!data_a.join("client-token").exists(), "a cluster makes no token by itself");

    let token = Command::new(env!("CARGO_BIN_EXE_chatsphere"))
        .args(["token", "create", "--client", "--email", "ops@example.com", "--data-dir"])
        .arg(&data_a)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory.path())
        .output()
        .await
        .unwrap();
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    let token = String::from_utf8(token.stdout).unwrap();
    let token = token.split_whitespace().find(|word| word.split('.').count() == 3).expect("a token").to_owned();

    let backend = Client::new(&a.url(), token.as_str()).unwrap();
    let room = backend.create_room(&CreateRoom { name: "lobby".to_owned(), user_id: None }).await.unwrap().id;
    let user = backend.create_user(&CreateUser { username: "ada".to_owned(), role: None }).await.unwrap();
    backend.add_member(room, user.user.id).await.unwrap();

    let mut on_a = Person::join(&a, &user.token, room).await;
    let mut on_b = Person::join(&b, &token, room).await;

    // The nodes may not be connected to NATS yet when the first message is sent.
    on_a.connection.send(room, "warm up").await.unwrap();
    on_b.see("warm up").await;
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let content = format!("over the bus {n}");
        on_a.connection.send(room, content.as_str()).await.unwrap();
        slowest = slowest.max(on_b.see(&content).await);
    }
    assert!(slowest < BUS, "{slowest:?}: the bus does not carry");

    nats.stop().await;
    for n in 0..3 {
        let content = format!("without the bus {n}");
        on_a.connection.send(room, content.as_str()).await.unwrap();
        on_b.see(&content).await;
        let content = format!("and back {n}");
        on_b.connection.send(room, content.as_str()).await.unwrap();
        on_a.see(&content).await;
    }

    nats.start_again().await;
    on_a.connection.send(room, "it is back").await.unwrap();
    on_b.see("it is back").await;
    on_a.see("it is back").await;
    assert_eq!(on_a.seen, on_b.seen, "both nodes show the same, once, in one order");

    // A token that is revoked on one node is refused on the other within a second (plus the time to check).
    backend.revoke_token(user.token_id).await.unwrap();
    let there = Client::new(&b.url(), user.token.as_str()).unwrap();
    let revoked = Instant::now();
    while there.profile().await.is_ok() {
        assert!(revoked.elapsed() < BOUND, "the revocation does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());

    on_b.connection.close().await;
    tokio::join!(a.stop(Duration::from_secs(15)), b.stop(Duration::from_secs(15)));
    database.drop().await;
}
