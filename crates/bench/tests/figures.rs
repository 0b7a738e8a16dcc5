//! Each measuring command, on a small scale, against the real server: it finds no violation and reports its figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "tells what it leaves out")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Server, left_out, number, postgres, report};

/// Checks that all percentiles are present and in ascending order.
fn check_latencies(report: &Value, names: &[&str]) {
    for name in names {
        let shares =
            ["p50", "p99", "p99.9", "max"].map(|share| report[name][share].as_f64().unwrap_or_else(|| panic!("{report}")));
        assert!(shares[0] > 0.0 && shares.is_sorted(), "{name}: {report}");
    }
}

#[test]
fn idle_tells_memory_and_cpu() {
    let Some(server) = Server::start(None) else { return };
    let spread = ["--sockets", "60", "--room-size", "20", "--sockets-per-user", "30"];
    let report = server.measure(["idle", "--settle", "0", "--hold", "1"].into_iter().chain(spread));
    assert_eq!((&report["rooms"], &report["users"]), (&Value::from(3), &Value::from(2)));
    assert!(number(&report, "residentBytesAfter") > number(&report, "residentBytesBefore"), "{report}");
    assert!(number(&report, "bytesPerSocket") > 0.0 && number(&report, "cpuPercentOfACore") < 100.0, "{report}");
    check_latencies(&report, &["openMs"]);
}

/// Many systems limit a process to 1,024 open files by default.
#[test]
fn a_low_soft_limit_of_open_files_is_raised() {
    let Some(server) = Server::start(None) else { return };
    let mut low = Command::new("sh");
    low.args(["-c", "ulimit -Sn 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_chatsphere-bench")]);
    let output = server.run_by(low, ["idle", "--sockets", "100", "--settle", "0", "--hold", "0"]);
    assert!(output.status.success(), "{}", report(&output));
}

#[test]
fn connect_counts_whole_joins() {
    let Some(server) = Server::start(None) else { return };
    let report = server.measure(["connect", "--connections", "60", "--concurrency", "8", "--users", "5"]);
    assert!(number(&report, "connectionsPerSecond") > 0.0 && number(&report, "connectionsPerCpuSecond") > 0.0, "{report}");
    check_latencies(&report, &["connectAndJoinMs"]);
}

#[test]
fn fanout_is_compared_with_the_floor() {
    let Some(server) = Server::start(None) else { return };
    for (in_flight, messages) in [("1", "150"), ("16", "320")] {
        let size = ["--sockets", "40", "--messages", messages, "--in-flight", in_flight];
        let report = server.measure(["fanout", "--floor", "--runs", "2"].into_iter().chain(size));
        assert_eq!(number(&report, "deliveries"), 2.0 * 40.0 * messages.parse::<f64>().unwrap());
        assert!(number(&report, "frameBytes") > 500.0, "{report}");
        check_latencies(&report, &["deliveryMs", "floorDeliveryMs"]);
    }
}

#[test]
fn the_floor_is_measured_alone() {
    let Some(server) = Server::start(None) else { return };
    // It needs no server and gets none.
    drop(server);
    let size = ["--sockets", "100", "--messages", "400", "--bytes", "200", "--json"];
    let output = Command::new(env!("CARGO_BIN_EXE_chatsphere-bench")).arg("floor").args(size).output().unwrap();
    let report = report(&output);
    assert!(output.status.success(), "{report}");
    assert_eq!(report["frameBytes"], 675);
    assert!(number(&report, "writerCpuSeconds") > 0.0 && number(&report, "deliveriesPerCpuSecond") > 0.0, "{report}");
    check_latencies(&report, &["deliveryMs"]);
}

#[test]
fn rest_measures_both_calls() {
    let Some(server) = Server::start(None) else { return };
    let report = server.measure(["rest", "--connections", "4", "--seconds", "1", "--warm-up", "0"]);
    assert!(number(&report, "gets") > 0.0 && number(&report, "posts") > 0.0, "{report}");
    // 50 messages of 100 bytes each, and the JSON around them.
    assert!(number(&report, "getBodyBytes") > 50.0 * 300.0, "{report}");
    check_latencies(&report, &["getMs", "postMs"]);
    let report = server.measure(["rest", "post", "--connections", "2", "--seconds", "1", "--warm-up", "0"]);
    assert!(report["gets"].is_null() && number(&report, "posts") > 0.0, "{report}");
}

#[test]
fn ingest_keeps_a_rate() {
    let Some(server) = Server::start(None) else { return };
    ingest(&server);
    let rate = ["ingest", "--rooms", "3", "--seconds", "1", "--warm-up", "0", "--rate", "50"];
    let report = server.measure(rate);
    assert_eq!((&report["openAcks"], &report["acks"]), (&Value::from(50), &Value::Null));
}

#[test]
fn ingest_on_postgresql() {
    let Some(database) = postgres("ingest") else { return };
    let Some(server) = Server::start(Some(&database.url)) else { return };
    ingest(&server);
}

fn ingest(server: &Server) {
    let half = ["ingest", "--rooms", "4", "--in-flight", "4", "--seconds", "1", "--warm-up", "1", "--open-half"];
    let report = server.measure(half);
    assert!(number(&report, "acks") > 0.0 && number(&report, "serverCpuSeconds") > 0.0, "{report}");
    let (open, all) = (number(&report, "openRate"), number(&report, "acksPerSecond"));
    assert!((open - all / 2.0).abs() < 1.0 && (number(&report, "openAcks") - open).abs() <= 1.0, "{report}");
    check_latencies(&report, &["ackMs", "openAckMs", "openSentLateMs"]);
}

#[test]
fn storm_replays_everything() {
    let Some(server) = Server::start(None) else { return };
    let report = server.measure(["storm", "--sockets", "30", "--events", "300", "--room-size", "10"]);
    assert_eq!((&report["rooms"], &report["connectionsMadeAgain"]), (&Value::from(3), &Value::from(0)));
    assert!(number(&report, "peakResidentBytes") >= number(&report, "residentBytesBefore"), "{report}");
    check_latencies(&report, &["upToDateMs"]);
}

/// The server replays at most 10,000 events: a socket that missed more is not up to date after a join, and the run must report
/// that.
#[test]
fn what_is_not_replayed_is_a_violation() {
    let Some(server) = Server::start(None) else { return };
    let output = server.run(["storm", "--sockets", "2", "--events", "10001", "--bytes", "10"]);
    let report = report(&output);
    assert_eq!((output.status.code(), report["violations"].as_array().unwrap().len()), (Some(1), 2), "{report}");
}

#[test]
fn fairness_compares_three_times() {
    let Some(server) = Server::start(None) else { return };
    let report = server.measure(["fairness", "--sockets", "50", "--seconds", "1", "--rounds", "2"]);
    assert!(number(&report, "p99RatioLoudRoom") > 0.0 && number(&report, "p99RatioFlood") > 0.0, "{report}");
    assert!(number(&report, "loudDeliveriesPerSecond") > 0.0 && number(&report, "floodAcksPerSecond") > 0.0, "{report}");
    check_latencies(&report, &["aloneMs", "besideLoudRoomMs", "besideFloodMs"]);
}

#[test]
fn growth_makes_its_rooms_and_is_plotted() {
    let Some(server) = Server::start(None) else { return };
    let plot = server.directory.path().join("growth.svg");
    let small = ["growth", "--to", "1000", "--rooms", "10,30", "--samples", "10", "--plot"].map(PathBuf::from);
    let report = server.measure(small.into_iter().chain([plot.clone()]));
    check_latencies(&report, &["newestMsAt1000Messages", "olderMsAt10Rooms", "joinMsAt30Rooms", "sendMsAt30Rooms"]);
    assert!(number(&report, "joinRatioAt30Rooms") > 0.0, "{report}");
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg "));
}

#[test]
fn growth_measures_filled_rooms() {
    let Some(mut server) = Server::start(None) else { return };
    let url = format!("sqlite:{}", server.directory.path().join("data/chatsphere.db").display());
    filled(&mut server, &url);
}

#[test]
fn growth_measures_filled_rooms_on_postgresql() {
    let Some(database) = postgres("growth") else { return };
    let Some(mut server) = Server::start(Some(&database.url)) else { return };
    filled(&mut server, &database.url);
}

/// Data written by `fill` equals the server's: the server reads it and continues from it.
fn filled(server: &mut Server, url: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_chatsphere-bench")).with_file_name("examples").join("fill");
    if !program.exists() {
        return left_out("the store's example `fill` is not built: run `cargo test --workspace`");
    }
    server.stop();
    let (rooms, earlier) = (server.directory.path().join("rooms.json"), server.directory.path().join("earlier.json"));
    let mut fill = Command::new(program);
    fill.arg(url).args(["--messages", "120,20", "--rooms", "40", "--rooms-file"]).arg(&rooms);
    assert!(fill.status().unwrap().success());
    server.serve();
    let growth = ["growth", "--samples", "10", "--rooms-file"].map(PathBuf::from);
    let report = server.measure(growth.clone().into_iter().chain([rooms.clone()]));
    assert_eq!(report["roomsInDatabase"], 40);
    check_latencies(&report, &["newestMsAt20Messages", "olderMsAt20Messages", "joinMsAt120Messages", "sendMsAt120Messages"]);
    std::fs::write(&earlier, report.to_string()).unwrap();
    let again = server.measure(growth.into_iter().chain([rooms, "--compare".into(), earlier]));
    assert!(again["p50ToEarlier"]["sendMsAt120Messages"].as_f64().unwrap() > 0.0, "{again}");
    // Two runs of thirty calls have sent a message each, after one membership event and the filled messages.
    assert_eq!(again["newestSeqAt20Messages"], 20 + 1 + 60, "{again}");
}
