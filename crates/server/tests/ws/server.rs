//! Test servers with both front doors.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use chatsphere::auth::{ContentKey, Keys};
use chatsphere::http::{self, HttpState};
use chatsphere::request::AllowedOrigins;
use chatsphere::serve::listener_options;
use chatsphere::ws::{self, ConnectionRegistry, FastUpgrade, Timeouts, WsState};
use chatsphere_core::ops::PostMessage;
use chatsphere_core::{
    AppContext, Authority, AuthorityListener, Caller, Clock, CommitSink, Committed, ControlPosition, Limits, ManualClock,
    RoomId, Signal, SignalSink, Timestamp, TokenLifetimes, UserRef, ops,
};
use chatsphere_net::listener::{ListenerOptions, PreUpgradeHandler, serve};
use chatsphere_realtime::{Bus, BusKeys, BusMessage, DeliveryGate, Hub, NatsLink, NatsOptions, OneByOne, reconcile, signal};
use chatsphere_store::{ClientIdKey, Fingerprint, KeyFingerprints, OpenOptions};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Client;
use crate::database::Database;
use crate::nats::Nats;
use crate::support::{Backend, Person, TestServer, secret};

/// The time at the start of each test: 2026-11-22T09:56:10.473Z.
const START: Timestamp = Timestamp::from_millis(1_795_341_370_473);

/// The differences of a test's server from the default.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) times: Timeouts,
    pub(crate) origins: AllowedOrigins,
    /// Whether the control log is polled.
    pub(crate) follows_control_log: bool,
    /// The NATS server from which it receives the commits of other nodes.
    pub(crate) nats: Option<String>,
}

impl Default for Setup {
    /// The default has no rate limit of messages.
    fn default() -> Self {
        let limits = Limits { messages_per_second: 0, ..Limits::default() };
        Self { limits, times: Timeouts::default(), origins: AllowedOrigins::Any, follows_control_log: true, nats: None }
    }
}

impl Setup {
    pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.limits);
        setup
    }

    pub(crate) fn times(change: impl FnOnce(&mut Timeouts)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.times);
        setup
    }
}

/// A server: `TestServer` is its REST side.
pub(crate) struct Server {
    rest: TestServer,
    pub(crate) sessions: Arc<ConnectionRegistry>,
    /// Cancelling this closes the connections.
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// How often events of other nodes were withheld, because this node could not check who may read them.
    pub(crate) withheld: Arc<AtomicUsize>,
    /// Accepts handshakes by the fast path.
    pub(crate) pre_upgrade: PreUpgradeHandler,
    router: Router,
    _background: JoinSet<()>,
    _database: Arc<Database>,
}

impl Deref for Server {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.rest
    }
}

/// A sink that drops the commits of another process.
struct Elsewhere;

impl CommitSink for Elsewhere {
    fn committed(&self, _: Committed) {}
}

impl SignalSink for Elsewhere {
    fn signal(&self, _: Signal) {}
}

async fn open(
    database: &Database,
    limits: Limits,
    sink: Arc<impl CommitSink + SignalSink>,
    clock: Arc<ManualClock>,
) -> (Arc<AppContext>, Arc<Keys>) {
    let (user, client) = (secret('u'), secret('c'));
    let fingerprints = KeyFingerprints {
        user: Fingerprint::new(user.fingerprint()),
        user_previous: None,
        client: Fingerprint::new(client.fingerprint()),
        client_previous: None,
        content: None,
        content_is_generated: false,
    };
    let mut options = OpenOptions::new(database.url.clone(), fingerprints, sink.clone());
    options.client_id_key = Some(ClientIdKey::new(b"client ids"));
    let store = chatsphere_store::open(options).await.expect("a store");
    let authority = Arc::new(Authority::new(clock.clone() as Arc<dyn Clock>, ControlPosition::default()));
    let chat = AppContext::new(store, authority, clock, limits, TokenLifetimes::default()).with_signals(sink);
    (Arc::new(chat), Arc::new(Keys::new(&user, None, &client, None)))
}

/// Starts a NATS server for the test, if its program is known.
pub(crate) async fn nats() -> Option<Nats> {
    let Ok(program) = std::env::var("CHATSPHERE_TEST_NATS_SERVER") else {
        let why = "CHATSPHERE_TEST_NATS_SERVER names no nats-server";
        assert!(std::env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
        println!("left out: {why}");
        return None;
    };
    Some(Nats::start(&program).await)
}

/// Makes a node's connection to NATS.
fn link(nats: &str) -> NatsLink {
    let options = NatsOptions::new(nats.parse().expect("an address"));
    NatsLink::new(options, BusKeys::derive(&[b"user"], &[b"client"]), Arc::new(ManualClock::new(START))).expect("no files")
}

/// Makes the context of another process on the same database, such as the command line.
pub(crate) async fn elsewhere(database: &Database) -> Arc<AppContext> {
    open(database, Limits::default(), Arc::new(Elsewhere), Arc::new(ManualClock::new(START))).await.0
}

/// The same for another node, which publishes its commits over NATS as long as the task lives.
pub(crate) async fn elsewhere_on_a_bus(
    database: &Database,
    nats: &str,
    clock: Arc<ManualClock>,
) -> (Arc<AppContext>, JoinSet<()>) {
    let hub = Arc::new(Hub::new(1).0);
    let link = link(nats);
    let (bus, publish_queue) = Bus::clustered(hub.clone(), link.status());
    let chat = open(database, Limits::default(), Arc::new(bus), clock).await.0;
    let mut tasks = JoinSet::new();
    tasks.spawn(
        link.run(chat.store.epoch(), publish_queue, hub.interest.clone(), move |message: BusMessage| message.deliver(&hub)),
    );
    (chat, tasks)
}

impl Server {
    pub(crate) async fn start(database: &Arc<Database>) -> Self {
        Self::start_with(database, Setup::default()).await
    }

    pub(crate) async fn start_with(database: &Arc<Database>, setup: Setup) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let (hub, hub_tasks) = Hub::new(2);
        let hub = Arc::new(hub);
        let (chat, keys) = open(database, setup.limits, hub.clone(), clock.clone()).await;
        let sessions = Arc::new(ConnectionRegistry::with_times(chat.clone(), hub.clone(), setup.times));
        let listener: Arc<dyn AuthorityListener> = sessions.clone();
        chat.authority.set_listener(Arc::downgrade(&listener));

        let mut background = JoinSet::new();
        for shard in hub_tasks.shards.into_iter().chain(hub_tasks.large_rooms) {
            let hub = hub.clone();
            background.spawn(async move { shard.run(&hub, OneByOne).await });
        }
        let (authority, looks) = (chat.authority.clone(), Arc::new(AtomicUsize::new(0)));
        let gate = DeliveryGate::new({
            let looks = looks.clone();
            move || {
                let open = authority.is_settled();
                looks.fetch_add(usize::from(!open), Ordering::SeqCst);
                open
            }
        });
        if let Some(url) = &setup.nats {
            // Its own commits are delivered to no hub.
            let link = link(url);
            let (_, publish_queue) = Bus::clustered(hub.clone(), link.status());
            let (hub, gate, interest) = (hub.clone(), gate.clone(), hub.interest.clone());
            let take = move |message: BusMessage| {
                if gate.is_open() {
                    message.deliver(&hub);
                }
            };
            background.spawn(link.run(chat.store.epoch(), publish_queue, interest, take));
        }
        background.spawn(reconcile::run(hub.clone(), chat.store.clone(), hub_tasks.gaps, gate));
        background.spawn(signal::run(hub.clone()));
        background.spawn({
            let sessions = sessions.clone();
            async move { sessions.run().await }
        });
        if setup.follows_control_log {
            background.spawn(follow(chat.clone()));
        }

        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let websocket = Arc::new(WsState {
            chat: chat.clone(),
            keys: keys.clone(),
            hub,
            sessions: sessions.clone(),
            origins: setup.origins.clone(),
            stopping: stopping.clone(),
            tasks: tasks.clone(),
        });
        let pre_upgrade = PreUpgradeHandler::new(Arc::new(FastUpgrade::new(websocket.clone())));
        let state =
            HttpState { origins: setup.origins, ..HttpState::new(chat.clone(), keys.clone(), ContentKey::new(&secret('k'))) };
        let router = http::router(Arc::new(state), |routes| ws::before(websocket, routes));
        let directory = tempfile::tempdir().expect("a directory");
        let rest = TestServer::serve(Backend { chat, keys, clock, directory }, router.clone()).await;
        Self {
            rest,
            sessions,
            stopping,
            tasks,
            withheld: looks,
            pre_upgrade,
            router,
            _background: background,
            _database: database.clone(),
        }
    }

    /// Starts another listener of the same server, with a small send buffer.
    pub(crate) fn listen(&self, change: impl FnOnce(&mut ListenerOptions)) -> SocketAddr {
        let mut options = listener_options(&self.backend.chat.limits);
        change(&mut options);
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(64 * 1024).expect("connections have this size too");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(64).expect("a port");
        serve(listener, self.router.clone(), options, self.shutdown.clone()).expect("a listener").local_addr()
    }

    /// Connects with the token in the header, and reads `hello`.
    pub(crate) async fn connect(&self, token: &str) -> Client {
        Client::connect(self.addr, token).await
    }

    /// Connects as a person and joins the room.
    pub(crate) async fn joined(&self, room: RoomId, person: &Person) -> Client {
        let mut client = self.connect(&person.token).await;
        client.join(room, json!({})).await;
        client
    }

    pub(crate) async fn remove(&self, room: RoomId, person: &Person) {
        self.delete(&format!("/api/rooms/{room}/users/{}", person.id)).client().send().await.ok(200);
    }

    /// Returns all events of a room, as REST shows them.
    pub(crate) async fn events(&self, room: RoomId) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event["seq"].as_u64().expect("a seq"));
            let path = format!("/api/rooms/{room}/events?after={after}&limit=200");
            let page = self.get(&path).client().send().await.ok(200);
            let page = page.as_array().expect("a list").clone();
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }

    /// Posts many messages, as fast as the store accepts them.
    pub(crate) async fn fill(&self, room: RoomId, by: &Person, contents: impl IntoIterator<Item = String>) {
        let chat = &self.backend.chat;
        let admin = chat.store.user(self.admin_id).await.expect("the store").expect("the first ADMIN");
        let caller = Caller::operator(UserRef::from(&admin), START);
        let message =
            |content| PostMessage { room_id: room, content, client_message_id: None, author: Some(by.id), idempotency: None };
        let posts =
            contents.into_iter().map(|content| ops::post_message(chat, &caller, message(content)).expect("a valid message"));
        for posted in posts.collect::<Vec<_>>() {
            posted.await.expect("the store");
        }
    }

    /// Creates a room with two members.
    pub(crate) async fn pair(&self) -> (RoomId, Person, Person) {
        let (ada, bob) = (self.user("ada").await, self.user("bob").await);
        let room = self.room("lobby", &ada).await;
        self.add(room, bob.id).await;
        (room, ada, bob)
    }
}

/// An object with these fields in addition or instead.
pub(crate) fn with(object: &Value, fields: Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    object
}

/// The path of a message, as an answer shows the message.
pub(crate) fn message_path(room: RoomId, message: &Value) -> String {
    format!("/api/rooms/{room}/messages/{}", message["id"].as_str().unwrap())
}

async fn follow(chat: Arc<AppContext>) {
    let mut ticks = interval(chatsphere_core::authority::POLL_INTERVAL);
    loop {
        ticks.tick().await;
        // If the store is unavailable, the next poll may succeed.
        let _ = chat.authority.poll(&*chat.store).await;
    }
}
