//! Tests of the resident memory of a whole server.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use serde_json::{Value, json};

const CONNECTIONS: usize = 300;
const MIB: u64 = 1024 * 1024;

struct Server {
    child: Child,
    addr: SocketAddr,
    client_token: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatsphere"))
            .args(["serve", "--port", "0", "--data-dir"])
            .arg(&data)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut banner = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let addr = banner.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned)).unwrap();
        std::thread::spawn(move || banner.for_each(drop));
        let client_token = std::fs::read_to_string(data.join("client-token")).unwrap().trim().to_owned();
        Self { child, addr: addr.parse().unwrap(), client_token, _directory: directory }
    }

    /// Makes a call, and returns the status and the JSON body.
    fn call(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request(method, path, token, body, true).as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Returns a field of `/proc/…/status` in bytes, such as the highest or the current resident size.
    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(method: &str, path: &str, token: &str, body: Option<&Value>, close: bool) -> String {
    let body = body.map(Value::to_string).unwrap_or_default();
    let (length, close) = (body.len(), if close { "connection: close\r\n" } else { "" });
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{close}\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Connects with the smallest receive buffer.
fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 4 * 1024).unwrap();
    connect(&socket, &addr).unwrap();
    TcpStream::from(socket)
}

#[test]
fn heavy_pages_that_nobody_reads_take_little_memory() {
    let server = Server::start();
    let made = |name: &str| {
        let (status, made) = server.call("POST", "/api/users", &server.client_token, Some(&json!({ "username": name })));
        assert_eq!(status, 201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["user"]["id"]), text(&made["token"]))
    };
    let ((ada_id, ada), (_, bob)) = (made("ada"), made("bob"));
    let body = json!({ "name": "heavy", "userId": ada_id });
    let (_, room) = server.call("POST", "/api/rooms", &server.client_token, Some(&body));
    let path = format!("/api/rooms/{}/messages", room["id"].as_str().unwrap());
    // JSON encodes each of these in six bytes.
    let message = json!({ "content": "\u{1}".repeat(32 * 1024), "userId": ada_id });
    for _ in 0..60 {
        assert_eq!(server.call("POST", &path, &server.client_token, Some(&message)).0, 201);
    }
    let before = server.memory("VmHWM");
    let asked = request("GET", &format!("{path}?limit=200&after=0"), &ada, None, false).repeat(4);
    let mut unread = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = narrow(server.addr);
        stream.write_all(asked.as_bytes()).unwrap();
        unread.push(stream);
        if number % 30 == 0 {
            assert_eq!(server.call("GET", "/api/rooms", &bob, None).0, 200);
        }
    }
    // A request at this time is answered behind all of these.
    let refused = server.call("GET", &format!("{path}?limit=200&after=0"), &ada, None).0;
    assert!([429, 503].contains(&refused), "{refused}");
    assert_eq!(server.call("GET", "/api/rooms", &bob, None).0, 200);
    let most = server.memory("VmHWM");
    assert!(most < before + 150 * MIB, "{} MiB, {} before", most / MIB, before / MIB);
}
