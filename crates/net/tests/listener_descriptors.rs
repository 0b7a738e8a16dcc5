//! Exhausted descriptors. In a process of its own, because the limit is per process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chatsphere_net::listener::{ListenerOptions, serve};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 30;
const ACCEPTED: usize = 8;

#[tokio::test]
async fn without_descriptors_clients_are_reported_and_service_resumes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // The system completes these connections itself; the server accepts them at once.
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    // Stands for descriptors with high numbers that the process may have inherited.
    let _inherited: Vec<OwnedFd> = (0..2 * CLIENTS).map(|_| fcntl_dupfd_cloexec(&listener, 1_000).unwrap()).collect();
    // One more for the spare descriptor.
    leave_free(ACCEPTED as u64 + 1);

    let app = Router::new().route("/", get(|| async { "hello" }));
    let handle = serve(listener, app, ListenerOptions::default(), CancellationToken::new()).unwrap();
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

    // Accepted clients are unaffected, and a freed place is reused.
    let mut last = served.pop().unwrap();
    drop(served);
    for client in [&mut last, &mut TcpStream::connect(addr).await.unwrap()] {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        timeout(Duration::from_secs(60), client.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with("hello"), "{text}");
    }
}

/// Lowers the limit of open files until `free` more can be opened. The limit bounds descriptor numbers: open ones above it stay
/// open and leave numbers below free.
fn leave_free(free: u64) {
    let open: HashSet<u64> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        // The listing contains the descriptor of the directory itself.
        .filter(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|to| !to.ends_with("fd")))
        .collect();
    let last = (0..).filter(|number| !open.contains(number)).nth(free as usize - 1).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(last + 1), maximum }).unwrap();
}
