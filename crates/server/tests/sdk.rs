//! Tests of the Rust client with a whole server: over TLS, over a failing connection, and under a rate limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chatsphere::config::Settings;
use chatsphere::serve::{Running, start};
use chatsphere_client::bodies::{CreateRoom, CreateUser, PutExternalUser};
use chatsphere_client::{Client, ConnectOptions, Error, EventKind, Events, RoomId, Update};
use chatsphere_core::{Limits, SystemClock};
use futures_util::future::join_all;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The time-out of each step. It is far above what a step takes, so that a busy machine fails no test.
const AMPLE: Duration = Duration::from_secs(30);

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(AMPLE, future).await.expect("it did not happen in time")
}

/// Starts a server, and returns it with its first CLIENT token.
async fn serve(directory: &TempDir, settings: Settings) -> (Running, String) {
    let settings = Settings { data_dir: directory.path().join("data"), port: 0, ..settings };
    let running = start(settings, Arc::new(SystemClock)).await.unwrap();
    let token = running.first_token().unwrap().token.clone();
    (running, token)
}

/// Returns settings with a self-signed certificate, and the certificate.
fn tls(directory: &TempDir) -> (Settings, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (Settings { tls_cert: Some(certificate), tls_key: Some(key), ..Settings::default() }, cert.pem())
}

fn options() -> ConnectOptions {
    ConnectOptions::default().backoff(Duration::from_millis(10), Duration::from_millis(100))
}

async fn room(backend: &Client) -> RoomId {
    backend.create_room(&CreateRoom { name: "lobby".to_owned(), user_id: None }).await.unwrap().id
}

/// A proxy that forwards bytes until it is cut.
struct Wire {
    addr: SocketAddr,
    tasks: JoinSet<()>,
}

impl Wire {
    async fn to(server: SocketAddr, at: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind(at.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                passing.spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { addr, tasks }
    }

    /// Closes all connections and accepts no new ones. Returns its address.
    async fn cut(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.addr
    }
}

/// Returns the next message as (seq, content), and skips joins.
async fn message(events: &mut Events) -> (u64, String) {
    soon(async {
        loop {
            if let Update::Event(event) = events.recv().await.expect("the connection lives")
                && let EventKind::NewMessage { message } = event.kind
            {
                return (event.seq.get(), message.content.into_owned());
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_joins_sends_receives_and_resumes_over_tls() {
    let directory = TempDir::new().unwrap();
    let (settings, certificate) = tls(&directory);
    let (running, token) = serve(&directory, settings).await;
    let server = running.http_addr();
    let client =
        |addr: SocketAddr, token: &str| Client::builder(&format!("https://{addr}"), token).trust(&certificate).build().unwrap();
    let backend = client(server, &token);
    let room = room(&backend).await;
    let ada = backend.create_user(&CreateUser { username: "ada".to_owned(), role: None }).await.unwrap();
    backend.add_member(room, ada.user.id).await.unwrap();
    assert_eq!(backend.user(ada.user.id).await.unwrap().username, "ada");
    assert_eq!(backend.user_by_name("ada").await.unwrap().map(|user| user.id), Some(ada.user.id));
    assert_eq!(backend.user_by_name("a&b=c/ d").await.unwrap(), None);
    let wish = PutExternalUser { username: Some("grace".to_owned()), token: Some(Default::default()), role: None };
    let grace = backend.put_external_user("shop/4 2?#%", &wish).await.unwrap();
    assert_eq!(grace.user.external_id.as_deref(), Some("shop/4 2?#%"));
    assert_eq!(client(server, &grace.token.unwrap()).profile().await.unwrap().username, "grace");

    let wire = Wire::to(server, None).await;
    let (connection, mut events) = client(wire.addr, &ada.token).connect(options());
    soon(connection.join(room)).await.unwrap();
    let first = soon(connection.send(room, "over TLS")).await.unwrap().seq.get();
    assert_eq!(message(&mut events).await, (first, "over TLS".to_owned()));

    let addr = wire.cut().await;
    let (other, _others) = client(server, &token).connect(options());
    soon(other.send(room, "while it was away")).await.unwrap();
    soon(async { while !matches!(events.recv().await, Some(Update::Reconnecting { .. })) {} }).await;
    let _wire = Wire::to(server, Some(addr)).await;
    let last = soon(connection.send(room, "back again")).await.unwrap().seq.get();
    assert_eq!(message(&mut events).await, (first + 1, "while it was away".to_owned()));
    assert_eq!(message(&mut events).await, (last, "back again".to_owned()));
    assert_eq!(last, first + 2);

    soon(connection.close()).await;
    soon(other.close()).await;
    assert!(running.shutdown().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_server_gets_no_token() {
    let directory = TempDir::new().unwrap();
    let (settings, _) = tls(&directory);
    let (running, token) = serve(&directory, settings).await;
    let other = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let client = Client::builder(&format!("https://{}", running.http_addr()), token).trust(other).build().unwrap();
    assert!(matches!(client.rooms(None).await, Err(Error::Transport(_))));
    let (connection, mut events) = client.connect(options());
    match soon(events.recv()).await {
        Some(Update::Reconnecting { reason, .. }) => assert!(reason.contains("certificate"), "{reason}"),
        other => panic!("{other:?}"),
    }
    connection.close().await;
    assert!(running.shutdown().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_changes_no_order() {
    let directory = TempDir::new().unwrap();
    let limits = Limits { messages_per_second: 100, message_burst: 2, ..Limits::default() };
    let (running, token) = serve(&directory, Settings { limits, ..Settings::default() }).await;
    let url = format!("http://{}", running.http_addr());
    let backend = Client::new(&url, token).unwrap();
    let room = room(&backend).await;
    let ada = backend.create_user(&CreateUser { username: "ada".to_owned(), role: None }).await.unwrap();
    backend.add_member(room, ada.user.id).await.unwrap();

    let (connection, events) = Client::new(&url, ada.token.as_str()).unwrap().connect(options());
    drop(events);
    let contents: Vec<String> = (0..30).map(|number| format!("message {number}")).collect();
    let sent = soon(join_all(contents.iter().map(|content| connection.send(room, content.as_str())))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let stored = backend.messages(room, Some(200)).await.unwrap();
    assert_eq!(stored.items.iter().map(|message| message.content.to_string()).collect::<Vec<_>>(), contents);
    soon(connection.close()).await;
    assert!(running.shutdown().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_reaches_the_other_connection_as_it_was_sent() {
    let directory = TempDir::new().unwrap();
    let (running, token) = serve(&directory, Settings::default()).await;
    let client = Client::new(&format!("http://{}", running.http_addr()), token).unwrap();
    let room = room(&client).await;
    let ((one, mut of_one), (other, mut of_other)) = (client.connect(options()), client.connect(options()));
    for connection in [&one, &other] {
        soon(connection.join(room)).await.unwrap();
    }
    let json = r#"{ "x": 0.1000000000000000000000000000001 }"#;
    soon(one.signal(room, "cursor", serde_json::from_str(json).unwrap())).await.unwrap();
    soon(other.signal(room, "", serde_json::from_str("1").unwrap())).await.unwrap();
    let of_signals = async |events: &mut Events| loop {
        match soon(events.recv()).await {
            Some(Update::Signal { name, data, .. }) => return (name, data),
            Some(Update::Error(error)) => return (error.code.into_owned(), error.field.unwrap_or_default().into_owned()),
            _ => {}
        }
    };
    // The signal and the error may come in either order.
    let mut seen = [of_signals(&mut of_other).await, of_signals(&mut of_other).await];
    seen.sort();
    assert_eq!(seen, [("cursor".to_owned(), json.to_owned()), ("invalid".to_owned(), "name".to_owned())]);
    soon(other.signal(room, "ring", serde_json::from_str("null").unwrap())).await.unwrap();
    assert_eq!(of_signals(&mut of_one).await, ("ring".to_owned(), "null".to_owned()), "its own did not come");
    soon(one.close()).await;
    soon(other.close()).await;
    assert!(running.shutdown().await);
}
