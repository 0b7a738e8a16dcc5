//! Running out of descriptors. In a process of its own, since the limit is the whole process's.
#![cfg(target_os = "linux")]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chatsphere::listener::{ListenerOptions, serve};
use chatsphere_core::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 30;
const ACCEPTED: usize = 8;

#[tokio::test]
async fn without_descriptors_clients_are_told_and_service_resumes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // The system completes these on its own; the server sees them all at once.
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let before = getrlimit(Resource::Nofile);
    // One more for the spare descriptor; the directory just read is closed again, but was counted.
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + ACCEPTED as u64), maximum: before.maximum }).unwrap();

    let app = Router::new().route("/", get(|| async { "hello" }));
    let handle = serve(listener, app, ListenerOptions::new(&Limits::default()), CancellationToken::new()).unwrap();
    assert!(handle.capacity() > ACCEPTED, "this test means to run out of descriptors, not of places");

    let mut served = Vec::new();
    let mut refused = 0;
    for mut client in clients {
        let mut answer = [0; 12];
        timeout(Duration::from_secs(60), client.read_exact(&mut answer)).await.expect("left without an answer").unwrap();
        match &answer {
            b"HTTP/1.1 200" => served.push(client),
            b"HTTP/1.1 503" => refused += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert!(!served.is_empty() && refused > 0, "{} served, {refused} refused", served.len());

    // Those who were let in notice nothing, and a place that comes free is used.
    let mut last = served.pop().unwrap();
    drop(served);
    for client in [&mut last, &mut TcpStream::connect(addr).await.unwrap()] {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        timeout(Duration::from_secs(60), client.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with("hello"), "{text}");
    }
}
