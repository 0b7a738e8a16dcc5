//! Assembles and starts a complete server. [`crate::lifecycle`] shuts it down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use axum::http::HeaderValue;
use chatsphere_core::authority::POLL_INTERVAL;
use chatsphere_core::{AppContext, AuthorityListener, Clock, Limits, UserRef};
use chatsphere_net::listener::{self, ListenerOptions, PreUpgradeHandler, Tls, TrustedProxies};
use chatsphere_realtime::bus::PublishQueue;
use chatsphere_realtime::{
    Bus, BusMessage, BusStatus, Connections, DeliveryGate, Hub, HubTasks, NatsLink, OneByOne, fastest_batch, reconcile, signal,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Keys;
use crate::bootstrap::{FirstToken, check_supported, make_first_token, open_chat, some_admin};
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::http::{self, Demo, HttpState, MetricsAccess};
use crate::installation;
use crate::lifecycle::{Background, Parts, UntilStopping, Urgency};
use crate::lock::InstallationLock;
use crate::observability::metrics::install_metrics;
use crate::ownership::Role;
use crate::request::AllowedOrigins;
use crate::secrets::{Secrets, SecretsError};
use crate::start_error::StartError;
use crate::ws::{self, ConnectionRegistry, FastUpgrade, WsState};

/// Maximum number of connections that the kernel queues for acceptance.
const BACKLOG: u32 = 4_096;

/// Interval at which the size of the database is measured.
const LOOK_AT_SIZE: Duration = Duration::from_secs(60);

/// A running server. Dropping it without [`Running::shutdown`] ends it uncleanly.
pub struct Running {
    addr: SocketAddr,
    tls: bool,
    capacity: usize,
    first_token: Option<FirstToken>,
    demo: Option<Arc<Demo>>,
    parts: Parts,
    shutdown_timeout: Duration,
}

/// Starts a server with `clock` as its time source. Must be called within a multi-threaded tokio runtime.
///
/// # Errors
/// [`StartError`].
pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    start_unless(CancellationToken::new(), settings, clock).await
}

/// The same, but fails with [`StartError::Stopped`] if `stop` is cancelled while the start is waiting.
///
/// # Errors
/// [`StartError`].
pub async fn start_unless(stop: CancellationToken, settings: Settings, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    check_supported(&settings)?;
    let recorder = install_metrics();
    let directory = DataDir::make_for(&settings.data_dir, Role::Server)?;
    let database = settings.database();
    installation::check_files(&settings, Role::Server)?;
    let locks = stop.run_until_cancelled(InstallationLock::take(Some(&directory), &database)).await;
    let lock = locks.ok_or(StartError::Stopped)??;
    let secrets = Secrets::resolve(&settings, &directory)?;
    let tls = load_tls(&settings)?;
    // Before the database: a server whose port is taken must not migrate anything.
    let socket = bind(SocketAddr::new(settings.host, settings.port))?;

    let (hub, hub_tasks) = Hub::new(available_parallelism().map_or(1, usize::from));
    let hub = Arc::new(hub);
    let (sink, link) = open_bus(&settings, &secrets, &hub, &clock)?;
    // An interrupted migration step is rolled back when the file is next opened.
    let chat = stop.run_until_cancelled(open_chat(&settings, &secrets, sink, clock)).await.ok_or(StartError::Stopped)??;
    let keys = Arc::new(secrets.keys());
    let content_key = secrets.content_key().ok_or(SecretsError::NoContentKey)?;
    let first_token = if settings.is_cluster() { None } else { make_first_token(&chat, &keys, &directory).await? };

    let stopping = CancellationToken::new();
    let background = Background::new();
    let sockets = TaskTracker::new();
    let gate = while_settled(&chat);
    run_hub(&background, &hub, hub_tasks, &chat, gate.clone())?;
    let bus = link.map(|(link, publish_queue)| run_bus(&background, link, publish_queue, &hub, &chat, gate));
    background.spawn(follow_control_log(chat.clone()));
    background.spawn(follow_size(chat.clone()));

    let demo = open_demo(&settings, &chat, &directory).await?;
    let origins = origins(&settings);
    let state = HttpState {
        origins: origins.clone(),
        readiness: Arc::new(UntilStopping(stopping.clone())),
        metrics: Arc::new({
            let (chat, answers) = (chat.clone(), metrics::gauge!("chatsphere_answer_bytes"));
            move || {
                answers.set(chat.budget.bytes() as f64);
                recorder.render()
            }
        }),
        metrics_access: MetricsAccess { public: settings.metrics_public, token: settings.metrics_token.clone() },
        demo: demo.clone(),
        bus,
        ..HttpState::new(chat.clone(), keys.clone(), content_key)
    };
    let websocket = open_websocket(&background, &chat, &keys, hub, origins.clone(), &stopping, &sockets);
    let pre_upgrade = PreUpgradeHandler::new(Arc::new(FastUpgrade::new(websocket.clone())));
    let app = http::router(Arc::new(state), |routes| ws::before(websocket, routes));

    let options = ListenerOptions {
        trusted_proxies: TrustedProxies::from(settings.trusted_proxies.clone()),
        tls: tls.clone(),
        pre_upgrade,
        early_answers: http::early_answers(&origins),
        ..listener_options(&chat.limits)
    };
    let failed = |source| StartError::Listen { addr: SocketAddr::new(settings.host, settings.port), source };
    let listener = listener::serve(socket, app, options, stopping.clone()).map_err(failed)?;
    if let Some(tls) = &tls {
        let reload = tls.clone().reload_on_hangup(background.ended());
        background.spawn(async move {
            if let Err(error) = reload.await {
                tracing::error!(%error, "the certificate won't be reloaded at SIGHUP");
            }
        });
    }
    let (addr, capacity) = (listener.local_addr(), listener.capacity());
    tracing::info!(%addr, tls = tls.is_some(), capacity, version = env!("CARGO_PKG_VERSION"), "listening");
    let parts = Parts { stopping: stopping.drop_guard(), listener, sockets, background, chat, database, lock };
    let shutdown_timeout = settings.shutdown_timeout;
    Ok(Running { addr, tls: tls.is_some(), capacity, first_token, demo, parts, shutdown_timeout })
}

/// The options of the listener from the limits.
pub fn listener_options(limits: &Limits) -> ListenerOptions {
    ListenerOptions {
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        connections: limits.connections,
        ..ListenerOptions::default()
    }
}

impl Running {
    /// The listening address, with the port that the system chose if none was given.
    pub fn http_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether it uses TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Maximum number of connections.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The CLIENT token, on the first start.
    pub fn first_token(&self) -> Option<&FirstToken> {
        self.first_token.as_ref()
    }

    /// A new invitation to the demo, if it is enabled.
    pub fn demo_invite(&self) -> Option<String> {
        self.demo.as_ref().map(|demo| demo.invites.issue())
    }

    /// The context of its ops.
    pub fn chat(&self) -> &Arc<AppContext> {
        &self.parts.chat
    }

    /// Resolves when an essential task has failed: the server should be stopped and started again.
    pub async fn broken(&self) {
        let Parts { background, chat, listener, .. } = &self.parts;
        tokio::select! {
            () = background.broken().cancelled_owned() => {}
            () = chat.store.ended() => {}
            () = listener.ended() => {}
        }
    }

    /// Completes work in progress within the configured time, and stops. Returns whether every accepted write is on disk.
    pub async fn shutdown(self) -> bool {
        self.parts.end(self.shutdown_timeout).await
    }
}

fn load_tls(settings: &Settings) -> Result<Option<Tls>, StartError> {
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => Tls::load(certificate, key).map(Some).map_err(|error| StartError::Tls { error }),
        _ => Ok(None),
    }
}

fn bind(addr: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = if addr.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        // A restart must not wait until the kernel has expired the previous server's connections.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| StartError::Listen { addr, source })
}

/// The connection to the other nodes of a cluster.
type ToOthers = (NatsLink, PublishQueue);

/// Creates the sink of commits and signals: this node's hub, and in a cluster also NATS.
fn open_bus(
    settings: &Settings,
    secrets: &Secrets,
    hub: &Arc<Hub>,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<Bus>, Option<ToOthers>), StartError> {
    let Some(options) = settings.nats() else { return Ok((Arc::new(Bus::local(hub.clone())), None)) };
    let link = NatsLink::new(options, secrets.bus_keys(), clock.clone())?;
    let (bus, publish_queue) = Bus::clustered(hub.clone(), link.status());
    Ok((Arc::new(bus), Some((link, publish_queue))))
}

fn run_bus(
    background: &Background,
    link: NatsLink,
    publish_queue: PublishQueue,
    hub: &Arc<Hub>,
    chat: &AppContext,
    gate: DeliveryGate,
) -> Arc<BusStatus> {
    let (status, hub) = (link.status(), hub.clone());
    // Events rejected by a closed gate are read from the store when it opens.
    let interest = hub.interest.clone();
    let take = move |message: BusMessage| {
        if gate.is_open() {
            message.deliver(&hub);
        }
    };
    background.spawn(link.run(chat.store.epoch(), publish_queue, interest, take));
    status
}

/// Closes the gate while this node cannot read the control log, because subscribers may have lost their rights.
fn while_settled(chat: &AppContext) -> DeliveryGate {
    let authority = chat.authority.clone();
    DeliveryGate::new(move || authority.is_settled())
}

fn run_hub(
    background: &Background,
    hub: &Arc<Hub>,
    tasks: HubTasks,
    chat: &Arc<AppContext>,
    gate: DeliveryGate,
) -> Result<(), StartError> {
    for shard in tasks.shards {
        let (hub, ended) = (hub.clone(), background.ended());
        let run = move || async move { ended.run_until_cancelled(shard.run(&hub, OneByOne)).await.unwrap_or_default() };
        background.thread("fan-out", Urgency::AsOthers, run).map_err(StartError::Machine)?;
    }
    for shard in tasks.large_rooms {
        let (hub, ended) = (hub.clone(), background.ended());
        let run = move || async move { ended.run_until_cancelled(shard.run(&hub, fastest_batch())).await.unwrap_or_default() };
        background.thread("large-rooms", Urgency::After, run).map_err(StartError::Machine)?;
    }
    background.spawn(reconcile::run(hub.clone(), chat.store.clone(), tasks.gaps, gate));
    background.spawn(signal::run(hub.clone()));
    Ok(())
}

fn open_websocket(
    background: &Background,
    chat: &Arc<AppContext>,
    keys: &Arc<Keys>,
    hub: Arc<Hub>,
    origins: AllowedOrigins,
    stopping: &CancellationToken,
    sockets: &TaskTracker,
) -> Arc<WsState> {
    let sessions = Arc::new(ConnectionRegistry::new(chat.clone(), hub.clone()));
    let connections: Arc<dyn Connections> = sessions.clone();
    hub.set_connections(Arc::downgrade(&connections));
    let listener: Arc<dyn AuthorityListener> = sessions.clone();
    chat.authority.set_listener(Arc::downgrade(&listener));
    background.spawn({
        let sessions = sessions.clone();
        async move { sessions.run().await }
    });
    Arc::new(WsState {
        chat: chat.clone(),
        keys: keys.clone(),
        hub,
        sessions,
        origins,
        stopping: stopping.clone(),
        tasks: sockets.clone(),
    })
}

/// Maximum number of control log readings that are processed concurrently.
const MAX_TELLING: usize = 16;

/// Follows changes of rights by other nodes and the command line. Checking a thousand sockets may take long; the log is read
/// meanwhile, so that the next revocation and other calls are not delayed.
async fn follow_control_log(chat: Arc<AppContext>) {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut telling = JoinSet::new();
    loop {
        ticks.tick().await;
        while let Some(told) = telling.try_join_next() {
            if let Err(error) = told
                && error.is_panic()
            {
                // A panic of a background task must not go unnoticed.
                std::panic::resume_unwind(error.into_panic());
            }
        }
        match chat.authority.read(&*chat.store).await {
            Ok(reading) => {
                if failing {
                    tracing::info!("the control log can be read again");
                }
                failing = false;
                if !chat.authority.is_notified(reading) && telling.len() < MAX_TELLING {
                    let chat = chat.clone();
                    telling.spawn(async move { chat.authority.notify(reading).await });
                }
            }
            Err(error) => {
                // Logged once per outage, not four times a second.
                if !failing {
                    tracing::warn!(%error, "the control log can't be read; after 10 s tokens are refused rather than guessed \
                     at, and sockets get nothing of other nodes");
                }
                failing = true;
            }
        }
    }
}

/// Measures the size of the database periodically.
async fn follow_size(chat: Arc<AppContext>) {
    let size = metrics::gauge!("chatsphere_database_bytes");
    let mut ticks = interval(LOOK_AT_SIZE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The log already reports an unavailable database.
        if let Ok(bytes) = chat.store.size().await {
            size.set(bytes as f64);
        }
    }
}

/// The demo acts on behalf of an ADMIN, so one must exist.
async fn open_demo(settings: &Settings, chat: &AppContext, directory: &DataDir) -> Result<Option<Arc<Demo>>, StartError> {
    if !settings.demo {
        return Ok(None);
    }
    let admin = some_admin(chat).await?;
    Ok(admin.map(|admin| Arc::new(Demo::new(chat, UserRef::from(&admin)).with_directory(directory.clone()))))
}

fn origins(settings: &Settings) -> AllowedOrigins {
    match &settings.allowed_origins {
        None => AllowedOrigins::Any,
        // Validated with the settings, so none is lost here.
        Some(list) => AllowedOrigins::List(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{ManualClock, Timestamp};
    use tempfile::TempDir;

    use super::*;

    fn settings(directory: &TempDir) -> Settings {
        Settings { data_dir: directory.path().join("data"), port: 0, ..Settings::default() }
    }

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_millis(1_795_341_370_000)))
    }

    async fn status(running: &Running, path: &str, token: &str) -> u16 {
        let url = format!("http://{}{path}", running.http_addr());
        reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn starts_and_stops_any_number_of_times() {
        let directory = TempDir::new().unwrap();
        let first = start(settings(&directory), clock()).await.unwrap();
        let token = first.first_token().unwrap().token.clone();
        assert_ne!(first.http_addr().port(), 0);
        assert_eq!(status(&first, "/api/users", &token).await, 200);
        assert!(matches!(start(settings(&directory), clock()).await, Err(StartError::Lock(_))));
        let addr = first.http_addr();
        assert!(first.shutdown().await);
        assert!(tokio::net::TcpStream::connect(addr).await.is_err());

        let second = start(settings(&directory), clock()).await.unwrap();
        assert!(second.first_token().is_none());
        assert_eq!(status(&second, "/api/users", &token).await, 200);
        assert!(second.shutdown().await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_injected_clock_is_the_one_that_counts() {
        let directory = TempDir::new().unwrap();
        let clock = clock();
        let running = start(settings(&directory), clock.clone()).await.unwrap();
        let token = running.first_token().unwrap().token.clone();
        clock.advance(settings(&directory).lifetimes.client);
        // The control log must be read at the new time before anything is checked.
        let chat = running.chat();
        chat.authority.poll(&*chat.store).await.unwrap();
        assert_eq!(status(&running, "/api/users", &token).await, 401);
        assert!(running.shutdown().await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_demo_can_be_left_out() {
        let directory = TempDir::new().unwrap();
        let running = start(Settings { demo: false, ..settings(&directory) }, clock()).await.unwrap();
        assert_eq!(running.demo_invite(), None);
        assert_eq!(status(&running, "/demo/", "").await, 404);
        assert!(running.shutdown().await);
    }
}
