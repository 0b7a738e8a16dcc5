//! A NATS server that the test can stop and restart.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

pub(crate) struct Nats {
    child: Child,
    program: String,
    port: u16,
    arguments: Vec<String>,
}

impl Nats {
    pub(crate) async fn start(program: &str) -> Self {
        Self::start_with(program, &[]).await
    }

    pub(crate) async fn start_with(program: &str, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { child: spawn(program, port, &arguments).await, program: program.to_owned(), port, arguments }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(&self.program, self.port, &self.arguments).await;
    }
}

async fn spawn(program: &str, port: u16, arguments: &[String]) -> Child {
    let child = Command::new(program)
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .args(arguments)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let listens = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), listens).await.expect("NATS listens");
    child
}
