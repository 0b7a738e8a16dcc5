//! `verify` against the real server: it finds nothing wrong after kills, and finds each fault that a proxy plants on the wire.
//!
//! The server's program is next to this package's, built by `cargo test --workspace`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "tells its figures, and what it leaves out")]

mod planting;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use planting::{Fault, Proxy};
use serde_json::Value;

const VERIFY: &str = env!("CARGO_BIN_EXE_chatsphere-verify");

#[test]
fn on_sqlite_nothing_is_wrong_over_kills() {
    let Some(program) = server_program() else { return };
    over_kills(&program, None);
}

#[test]
fn on_postgresql_nothing_is_wrong_over_kills() {
    let Some(program) = server_program() else { return };
    let Ok(server) = env::var("CHATSPHERE_TEST_POSTGRES") else {
        return left_out("CHATSPHERE_TEST_POSTGRES names no PostgreSQL server");
    };
    let name = format!("verify_{:016x}", rand::random::<u64>());
    execute(&server, &format!("CREATE DATABASE {name}"));
    let (base, _) = server.rsplit_once('/').unwrap();
    over_kills(&program, Some(&format!("{base}/{name}")));
    execute(&server, &format!("DROP DATABASE {name} WITH (FORCE)"));
}

fn over_kills(program: &Path, database: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(VERIFY);
    command.args(["--operations", "2000", "--kills", "4", "--json", "--server"]).arg(program);
    command.arg("--data-dir").arg(directory.path().join("data"));
    if let Some(url) = database {
        command.args(["--database-url", url]);
    }
    let output = command.output().unwrap();
    let report = report(&output);
    println!("{report}");
    assert!(output.status.success(), "{report} {}", said(&output));
    assert!(said(&output).starts_with(&format!("seed {}\n", number(&report, "seed"))), "{}", said(&output));
    assert!(number(&report, "kills") >= 4, "{report}");
    for figure in ["acknowledgements", "memberChanges", "joinsRefused", "leftByRemoval", "eventsLive", "eventsReplayed"] {
        assert!(number(&report, figure) > 0, "{figure}: {report}");
    }
    // Every client lost its connection in each kill, and some dropped theirs.
    assert!(number(&report, "connections") > 4 * number(&report, "clients"), "{report}");
}

#[test]
fn one_who_reads_nothing_is_closed_and_resumes() {
    let Some(program) = server_program() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(VERIFY);
    command.args(["--operations", "500", "--kills", "0", "--stalls", "2", "--seed", "5", "--json", "--server"]).arg(program);
    let output = command.arg("--data-dir").arg(directory.path().join("data")).output().unwrap();
    let report = report(&output);
    assert!(output.status.success(), "{report} {}", said(&output));
    assert!(number(&report, "endedAsleep") > 0, "{report}");
}

#[test]
fn an_honest_proxy_changes_nothing() {
    through_proxy(None, &[]);
}

#[test]
fn a_dropped_event_is_found() {
    through_proxy(Some(Fault::DropOne), &["gap"]);
}

#[test]
fn a_doubled_event_is_found() {
    through_proxy(Some(Fault::DoubleOne), &["repeated"]);
}

#[test]
fn swapped_events_are_found() {
    through_proxy(Some(Fault::SwapTwo), &["gap", "repeated"]);
}

#[test]
fn a_forged_acknowledgement_is_found() {
    through_proxy(Some(Fault::ForgeAnAck), &["lost"]);
}

#[test]
fn an_event_after_a_removal_is_found() {
    through_proxy(Some(Fault::DeliverAfterARemoval), &["not-listening"]);
}

#[test]
fn a_changed_replay_is_found() {
    through_proxy(Some(Fault::ChangeAReplay), &["content"]);
}

/// Runs `verify` through a proxy, without kills and drops, because a resume would repair the proxy's faults.
fn through_proxy(fault: Option<Fault>, rules: &[&str]) {
    let Some(program) = server_program() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_server, url) = Server::start(&program, directory.path());
    let proxy = Proxy::start(&url, fault);
    let mut command = Command::new(VERIFY);
    command.args(["--operations", "1500", "--no-drops", "--patience", "10", "--json", "--url", &proxy.url]);
    let output = command.arg("--token-file").arg(directory.path().join("data/client-token")).output().unwrap();
    let report = report(&output);
    assert_eq!(proxy.has_planted(), fault.is_some(), "{report}");
    assert_eq!(output.status.code(), Some(i32::from(fault.is_some())), "{report} {}", said(&output));
    let violations: Vec<&str> = report["violations"].as_array().unwrap().iter().map(|told| told.as_str().unwrap()).collect();
    assert_eq!(violations.is_empty(), fault.is_none(), "{report}");
    for rule in rules {
        assert!(violations.iter().any(|told| told.starts_with(&format!("[{rule}]"))), "no {rule}: {violations:#?}");
    }
    println!("{fault:?}: {violations:#?}");
}

struct Server(Child);

impl Server {
    fn start(program: &Path, directory: &Path) -> (Self, String) {
        let mut command = Command::new(program);
        command.args(["serve", "--port", "0", "--data-dir", "data"]).current_dir(directory).env_clear();
        command.env("CHATSPHERE_RATE_LIMIT", "off").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let banner = BufReader::new(child.stdout.take().unwrap()).lines();
        let server = Self(child);
        for line in banner {
            if let Some(url) = line.unwrap().strip_prefix("listening on ") {
                return (server, url.to_owned());
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

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", said(output)))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn server_program() -> Option<PathBuf> {
    let program = Path::new(VERIFY).with_file_name("chatsphere");
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
