use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use chatsphere::auth::{ContentKey, Keys, Secret};
use chatsphere::http::{self, Demo, HttpState};
use chatsphere::serve::listener_options;
use chatsphere_core::store::PageRequest;
use chatsphere_core::{
    AppContext, Authority, Clock, CommitSink, Committed, ControlPosition, Limits, ManualClock, Timestamp, TokenLifetimes,
    UserId, UserRef, ops,
};
use chatsphere_net::listener::{ListenerHandle, serve};
use chatsphere_store::{DatabaseUrl, Fingerprint, KeyFingerprints, OpenOptions};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Answer;
use super::contract::{Violations, watched};

/// The time at the start of each test: 2026-11-22T09:56:10.473Z.
const START: Timestamp = Timestamp::from_millis(1_795_341_370_473);

pub(crate) fn secret(letter: char) -> Secret {
    Secret::parse("JWT_SECRET", &format!("{letter}123456789abcdef0123456789abcdef0")).expect("a secret")
}

/// A sink for tests without connections.
struct NobodyListens;

impl CommitSink for NobodyListens {
    fn committed(&self, _: Committed) {}
}

/// The part of the server behind every front door.
pub(crate) struct Backend {
    pub(crate) chat: Arc<AppContext>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) directory: TempDir,
}

impl Backend {
    /// Makes a context on a new, empty database.
    pub(crate) async fn new(limits: Limits, sink: Arc<dyn CommitSink>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(START));
        let (user, client) = (secret('u'), secret('c'));
        let keys = KeyFingerprints {
            user: Fingerprint::new(user.fingerprint()),
            user_previous: None,
            client: Fingerprint::new(client.fingerprint()),
            client_previous: None,
            content: None,
            content_is_generated: false,
        };
        let url = DatabaseUrl::sqlite(directory.path().join("chat.db"));
        let store = chatsphere_store::open(OpenOptions::new(url, keys, sink)).await.expect("a store");
        let users = store.users(PageRequest { cursor: None, limit: 1 }).await.expect("users");
        assert!(users.items.is_empty(), "another test left something in the database");
        let authority = Arc::new(Authority::new(clock.clone() as Arc<dyn Clock>, ControlPosition::default()));
        let lifetimes = TokenLifetimes::default();
        let chat = Arc::new(AppContext::new(store, authority, clock.clone(), limits, lifetimes));
        Self { chat, keys: Arc::new(Keys::new(&user, None, &client, None)), clock, directory }
    }
}

type Before = Box<dyn FnOnce(Router<Arc<HttpState>>) -> Router<Arc<HttpState>>>;

/// The differences of a test's server from the default.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    /// Whether to serve the demo, on behalf of the first ADMIN.
    pub(crate) demo: bool,
    /// Changes the state before the router is made.
    pub(crate) adjust: Box<dyn FnOnce(&mut HttpState)>,
    /// Adds a layer in front of the router's routes.
    pub(crate) before: Before,
}

impl Default for Setup {
    /// The default has no rate limit of messages.
    fn default() -> Self {
        let limits = Limits { messages_per_second: 0, reads_per_second: 0, ..Limits::default() };
        Self { limits, demo: false, adjust: Box::new(|_| {}), before: Box::new(|routes| routes) }
    }
}

/// A server on a port of its own. When it is dropped, it fails the test if a call was answered with an unexpected 5xx.
pub(crate) struct TestServer {
    pub(crate) backend: Backend,
    pub(crate) addr: SocketAddr,
    /// The first CLIENT token.
    pub(crate) client_token: String,
    /// The ADMIN for whom the first CLIENT token acts.
    pub(crate) admin_id: UserId,
    pub(crate) handle: ListenerHandle,
    pub(crate) shutdown: CancellationToken,
    http: reqwest::Client,
    faults: AtomicUsize,
    violations: Violations,
    state: Option<Arc<HttpState>>,
}

/// Starts a server with the default setup.
pub(crate) async fn start() -> TestServer {
    TestServer::rest(Setup::default()).await
}

impl TestServer {
    /// Starts a server with only the REST front door.
    pub(crate) async fn rest(setup: Setup) -> Self {
        let backend = Backend::new(setup.limits, Arc::new(NobodyListens)).await;
        let mut state = HttpState::new(backend.chat.clone(), backend.keys.clone(), ContentKey::new(&secret('k')));
        let first = Self::bootstrap(&backend).await;
        if setup.demo {
            let operator = backend.chat.store.user(first.0).await.expect("the store").expect("the first ADMIN");
            state.demo = Some(Arc::new(Demo::new(&backend.chat, UserRef::from(&operator))));
        }
        (setup.adjust)(&mut state);
        let state = Arc::new(state);
        let mut server = Self::serve_with(backend, http::router(state.clone(), setup.before), first).await;
        server.state = Some(state);
        server
    }

    /// Serves any router on a backend, with the first ADMIN and CLIENT token.
    pub(crate) async fn serve(backend: Backend, router: Router) -> Self {
        let first = Self::bootstrap(&backend).await;
        Self::serve_with(backend, router, first).await
    }

    async fn bootstrap(backend: &Backend) -> (UserId, String) {
        let token = ops::bootstrap(&backend.chat).await.expect("the store").expect("an empty database");
        let admin = backend.chat.store.user(token.user_id).await.expect("the store").expect("the first ADMIN");
        (admin.id, backend.keys.sign(&token, &admin).expect("a token"))
    }

    async fn serve_with(backend: Backend, router: Router, (admin_id, client_token): (UserId, String)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let shutdown = CancellationToken::new();
        let options = listener_options(&backend.chat.limits);
        let violations = Violations::default();
        let router = watched(router, violations.clone());
        let handle = serve(listener, router, options, shutdown.clone()).expect("a listener");
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        let addr = handle.local_addr();
        let faults = AtomicUsize::new(0);
        Self { backend, addr, client_token, admin_id, handle, shutdown, http, faults, violations, state: None }
    }

    /// Advances the clock. The control log is read meanwhile, as in a running server.
    pub(crate) async fn advance(&self, by: Duration) {
        self.backend.clock.advance(by);
        self.backend.chat.authority.poll(&*self.backend.chat.store).await.expect("the control log");
    }

    /// Issues an invitation to the demo.
    pub(crate) fn invite(&self) -> String {
        self.state.as_ref().and_then(|state| state.demo.as_ref()).expect("a demo").invites.issue()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        Call { server: self, request: self.http.request(method, self.url(path)) }
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        self.call("DELETE", path)
    }

    /// Declares that this many 5xx answers were expected, and asserts that there were no others.
    #[track_caller]
    pub(crate) fn expect_faults(&self, expected: usize) {
        assert_eq!(self.faults.swap(0, Ordering::SeqCst), expected, "answers with a status of 5xx");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let faults = self.faults.load(Ordering::SeqCst);
        assert!(std::thread::panicking() || faults == 0, "{faults} answers with a status of 5xx that the test did not expect");
        if !std::thread::panicking() {
            self.violations.assert_none();
        }
    }
}

/// A call to send.
pub(crate) struct Call<'a> {
    server: &'a TestServer,
    request: RequestBuilder,
}

impl Call<'_> {
    #[must_use]
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Uses the first CLIENT token.
    #[must_use]
    pub(crate) fn client(self) -> Self {
        let token = self.server.client_token.clone();
        self.bearer(&token)
    }

    #[must_use]
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    #[must_use]
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    #[must_use]
    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string().into_bytes())
    }

    #[must_use]
    pub(crate) fn raw(self, content_type: &str, body: Vec<u8>) -> Self {
        Self { request: self.request.header("content-type", content_type).body(body), ..self }
    }

    pub(crate) async fn send(self) -> Answer {
        let answer = Answer::read(self.request.send().await.expect("an answer")).await;
        if answer.status.is_server_error() {
            self.server.faults.fetch_add(1, Ordering::SeqCst);
        }
        self.server.violations.assert_none();
        answer
    }
}
