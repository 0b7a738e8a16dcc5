//! The program as a separate process, and a client of a backend for its REST API.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts the server and waits until it listens. Port 0 means a free one.
    pub async fn start(data: &Path, port: u16, environment: &[(&str, String)]) -> Self {
        Self::start_logging(data, port, environment, Stdio::inherit()).await
    }

    /// The same with another destination of its log.
    pub async fn start_logging(data: &Path, port: u16, environment: &[(&str, String)], log: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatsphere"));
        command.args(["serve", "--data-dir"]).arg(data).env_clear().env("PORT", port.to_string());
        // With the default rate limit, a thousand lines would take most of a minute.
        command.env("CHATSPHERE_RATE_LIMIT", "off").current_dir(data.parent().unwrap());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn().unwrap();
        let mut banner = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = timeout(Duration::from_secs(60), async {
            while let Some(line) = banner.next_line().await.unwrap() {
                if let Some((_, rest)) = line.split_once("http://127.0.0.1:") {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    return digits.parse().unwrap();
                }
            }
            panic!("the server ended before it listened");
        });
        let port = port.await.expect("the server listens");
        tokio::spawn(async move { while let Ok(Some(_)) = banner.next_line().await {} });
        Self { child, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills the server with SIGKILL. Returns its port, for the next start.
    pub async fn kill(mut self) -> u16 {
        // This also waits for the end, because only then the lock of the data directory is free.
        self.child.kill().await.unwrap();
        self.port
    }

    /// Sends the server a signal, such as `STOP`.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap().success());
    }

    /// Sends SIGTERM. The server must end in time with status 0.
    pub async fn stop(mut self, within: Duration) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let status = timeout(within, self.child.wait()).await.expect("the server drains in time").unwrap();
        assert!(status.success(), "{status}");
    }
}

/// A client with the CLIENT token of an application's backend.
pub struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    pub fn new(url: &str, token: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url: url.to_owned(), token: token.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        response.error_for_status().unwrap().json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        request.json(body).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Returns all messages of a room, read page by page.
    pub async fn history(&self, room: &str) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::new();
        loop {
            let after = messages.last().map_or(0, |message| message["seq"].as_u64().unwrap());
            let page = self.get(&format!("/api/rooms/{room}/messages?limit=200&after={after}")).await;
            match page.as_array().unwrap() {
                page if page.is_empty() => return messages,
                page => messages.extend(page.iter().cloned()),
            }
        }
    }
}
