//! A NATS server with a configuration per test, and a client that speaks the protocol by hand.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Nats {
    child: Child,
    program: String,
    pub(crate) port: u16,
    directory: TempDir,
}

impl Nats {
    /// `None` if no server program is configured.
    pub(crate) async fn start(configuration: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, configuration).await
    }

    /// The directory of files that the configuration refers to.
    pub(crate) async fn start_in(directory: TempDir, configuration: &str) -> Option<Self> {
        let Ok(program) = std::env::var("CHATSPHERE_TEST_NATS_SERVER") else {
            let why = "CHATSPHERE_TEST_NATS_SERVER names no nats-server";
            assert!(std::env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
            println!("left out: {why}; `cargo xtask test` runs it");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = spawn(&program, port, directory.path(), configuration).await;
        Some(Self { child, program, port, directory })
    }

    pub(crate) async fn restart(&mut self, configuration: &str) {
        self.stop();
        self.child = spawn(&self.program, self.port, self.directory.path(), configuration).await;
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `login` is empty or ends in `@`.
    pub(crate) fn url(&self, login: &str) -> String {
        format!("nats://{login}127.0.0.1:{}", self.port)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn spawn(program: &str, port: u16, directory: &Path, configuration: &str) -> Child {
    let file = directory.join("nats.conf");
    std::fs::write(&file, format!("listen: \"127.0.0.1:{port}\"\n{configuration}\n")).unwrap();
    let log = std::fs::File::create(directory.join("nats.log")).unwrap();
    let mut child = Command::new(program).arg("-c").arg(&file).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let listens = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{status}: {}", std::fs::read_to_string(directory.join("nats.log")).unwrap());
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, listens).await.expect("NATS listens");
    child
}

/// A client that reaches an open bus.
pub(crate) struct Stranger(BufReader<TcpStream>);

impl Stranger {
    pub(crate) async fn connect(nats: &Nats) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", nats.port)).await.unwrap();
        let mut stranger = Self(BufReader::new(stream));
        stranger.send(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB chatsphere.> 1\r\n").await;
        stranger.flush().await;
        stranger
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// Waits until the server has processed everything sent.
    async fn flush(&mut self) {
        self.send(b"PING\r\n").await;
        while self.line().await.trim() != "PONG" {}
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("NATS says something").unwrap();
        line
    }

    pub(crate) async fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.send(format!("PUB {subject} {}\r\n", payload.len()).as_bytes()).await;
        self.send(payload).await;
        self.send(b"\r\n").await;
    }

    /// The next message that any client publishes, this one included.
    pub(crate) async fn capture(&mut self) -> (String, Vec<u8>) {
        loop {
            let line = self.line().await;
            let Some(message) = line.strip_prefix("MSG ") else { continue };
            let mut words = message.split_whitespace();
            let subject = words.next().unwrap().to_owned();
            let mut payload = vec![0; words.last().unwrap().parse::<usize>().unwrap() + 2];
            timeout(PATIENCE, self.0.read_exact(&mut payload)).await.expect("the rest comes").unwrap();
            payload.truncate(payload.len() - 2);
            return (subject, payload);
        }
    }
}
