//! `smoke` against the real server: each message once and in order for everyone, over cut connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "tells its figures, and what it leaves out")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use support::{Server, number, postgres};

#[test]
fn on_sqlite() {
    smoke(None);
}

#[test]
fn on_postgresql() {
    let Some(database) = postgres("smoke") else { return };
    smoke(Some(&database.url));
}

fn smoke(database: Option<&str>) {
    let Some(server) = Server::start(database) else { return };
    let report = server.measure(["smoke", "--messages", "3000"]);
    println!("{report}");
    assert_eq!(report["messagesAcknowledged"], 3_000);
    assert!(number(&report, "eventsReceived") > 3_000.0 && number(&report, "reconnects") > 0.0, "{report}");
}
