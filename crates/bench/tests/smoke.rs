//! `smoke` against the real server: each message once and in order for everyone, over cut connections.
//!
//! The server's program is the one beside this package's own, which `cargo test --workspace` has built.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "tells its figures, and what it leaves out")]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BENCH: &str = env!("CARGO_BIN_EXE_chatsphere-bench");
const MESSAGES: u64 = 3_000;

#[test]
fn on_sqlite() {
    let Some(program) = server_program() else { return };
    smoke(&program, None);
}

#[test]
fn on_postgresql() {
    let Some(program) = server_program() else { return };
    let Ok(server) = env::var("CHATSPHERE_TEST_POSTGRES") else {
        return left_out("CHATSPHERE_TEST_POSTGRES names no PostgreSQL server");
    };
    let name = format!("smoke_{:016x}", rand::random::<u64>());
    execute(&server, &format!("CREATE DATABASE {name}"));
    let (base, _) = server.rsplit_once('/').unwrap();
    smoke(&program, Some(&format!("{base}/{name}")));
    execute(&server, &format!("DROP DATABASE {name} WITH (FORCE)"));
}

fn smoke(program: &Path, database: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let (server, url) = Server::start(program, directory.path(), database);
    let token = directory.path().join("data/client-token");
    let report = Command::new(BENCH)
        .args(["smoke", "--url", &url, "--messages", &MESSAGES.to_string(), "--json", "--token-file"])
        .arg(&token)
        .args(["--server-pid", &server.0.id().to_string()])
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr));
    assert!(report.status.success(), "{said}{errors}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    println!("{report}");
    assert_eq!(number(&report, "messagesAcknowledged"), MESSAGES);
    assert!(number(&report, "eventsReceived") > MESSAGES && number(&report, "reconnects") > 0, "{report}");
}

/// A figure of the report, wherever it stands.
fn number(report: &serde_json::Value, name: &str) -> u64 {
    let found = report.get(name).or_else(|| report.get("figures").and_then(|figures| figures.get(name)));
    found.and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("no {name} in {report}"))
}

struct Server(Child);

impl Server {
    fn start(program: &Path, directory: &Path, database: Option<&str>) -> (Self, String) {
        let mut command = Command::new(program);
        command.args(["serve", "--port", "0", "--data-dir", "data"]).current_dir(directory).env_clear();
        command.env("CHATSPHERE_RATE_LIMIT", "off").stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(url) = database {
            command.env("DATABASE_URL", url);
        }
        let mut child = command.spawn().unwrap();
        let banner = BufReader::new(child.stdout.take().unwrap()).lines();
        let server = Self(child);
        for line in banner {
            if let Some(address) = line.unwrap().strip_prefix("listening on http://") {
                return (server, format!("http://{address}"));
            }
        }
        panic!("the server ended before it listened");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server_program() -> Option<PathBuf> {
    let program = Path::new(BENCH).with_file_name("chatsphere");
    if !program.exists() {
        left_out("the server's program is not built: run `cargo test --workspace`");
        return None;
    }
    Some(program)
}

fn left_out(why: &str) {
    assert!(env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
    println!("left out: {why}");
}

fn execute(server: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statement).await.unwrap();
    });
}
