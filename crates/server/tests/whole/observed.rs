//! Tests of the server's JSON log, audit log and metrics.

use std::fs::{self, File};
use std::time::Duration;

use chatsphere_client::bodies::{CreateRoom, CreateUser};
use chatsphere_client::{Client, ConnectOptions, EventKind, Update};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::server::{Api, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// Checks the rules of `promtool check metrics` that concern the output format.
fn check_metrics(text: &str) {
    let mut seen = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("# ")) {
        let mut words = line.split(' ').skip(1);
        let (what, name) = (words.next().unwrap(), words.next().unwrap());
        let (helps, types) = seen.entry(name.to_owned()).or_insert((0, 0));
        if what == "HELP" {
            *helps += 1;
            assert!(words.next().is_some(), "{line}");
        } else {
            *types += 1;
        }
    }
    assert!(seen.values().all(|counts| *counts == (1, 1)), "{seen:?}");
    let series = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in series {
        let name = line.split([' ', '{']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(seen.contains_key(name) || seen.contains_key(base), "{line} has no help");
    }
}

async fn metrics(url: &str, token: &str) -> String {
    let request = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{url}/metrics"));
    request.bearer_auth(token).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_logs_audits_and_measures() {
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let environment = [
        ("CHATSPHERE_LOG_FORMAT", "json".to_owned()),
        ("CHATSPHERE_LOG", "info,chatsphere=debug".to_owned()),
        ("CHATSPHERE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let server = Server::start_logging(&data, 0, &environment, File::create(&log).unwrap().into()).await;
    let token = fs::read_to_string(data.join("client-token")).unwrap().trim().to_owned();
    let backend = Client::new(&server.url(), token.as_str()).unwrap();
    let user = |name: &str| CreateUser { username: name.to_owned(), role: None };
    let ada = backend.create_user(&user("ada-the-first")).await.unwrap();
    let bob = backend.create_user(&user("bob")).await.unwrap();
    let room =
        backend.create_room(&CreateRoom { name: "lobby".to_owned(), user_id: Some(ada.user.id.to_string()) }).await.unwrap().id;
    backend.add_member(room, bob.user.id).await.unwrap();
    backend.remove_member(room, bob.user.id).await.unwrap();
    backend.revoke_token(bob.token_id).await.unwrap();

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let patch = |token: &str, body: Value| {
        let request = http.patch(format!("{}/api/users/{}", server.url(), bob.user.id)).bearer_auth(token).json(&body);
        request.header("x-forwarded-for", "203.0.113.9").send()
    };
    assert_eq!(patch(&token, json!({ "role": "MODERATOR" })).await.unwrap().status(), 200);
    assert_eq!(patch(&ada.token, json!({ "role": "ADMIN" })).await.unwrap().status(), 403);
    let disable = Command::new(env!("CARGO_BIN_EXE_chatsphere"))
        .args(["user", "disable", "bob", "--data-dir"])
        .arg(&data)
        .env_clear()
        .env("CHATSPHERE_LOG_FORMAT", "json")
        .current_dir(directory.path())
        .output()
        .await
        .unwrap();
    let of_the_command = String::from_utf8(disable.stderr).unwrap();
    assert!(disable.status.success() && of_the_command.contains("user.disable"), "{of_the_command}");

    let (connection, mut events) = Client::new(&server.url(), ada.token.as_str()).unwrap().connect(ConnectOptions::default());
    connection.join(room).await.unwrap();
    connection.send(room, "sesame").await.unwrap();
    let heard = async {
        loop {
            if let Update::Event(event) = events.recv().await.expect("the connection lives")
                && let EventKind::NewMessage { .. } = event.kind
            {
                return;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("the message comes");
    connection.close().await;
    let api = Api::new(&server.url(), &token);
    assert_eq!(api.get("/readyz").await["bus"], Value::Null, "there is none");
    assert_eq!(http.get(format!("{}/nothing%20here", server.url())).send().await.unwrap().status(), 404);
    let mut unreadable = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    unreadable.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    unreadable.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let begun = Instant::now();
    let text = loop {
        let text = metrics(&server.url(), &token).await;
        if text.contains(r#"chatsphere_closes_total{code="1000"} 1"#) {
            break text;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
        sleep(Duration::from_millis(50)).await;
    };
    check_metrics(&text);
    for expected in [
        concat!("chatsphere_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "chatsphere_ack_seconds_count 1",
        r#"chatsphere_errors_total{door="http",code="route_not_found"} 1"#,
        r#"chatsphere_errors_total{door="listener",code="malformed"} 1"#,
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let size = text.lines().find_map(|line| line.strip_prefix("chatsphere_database_bytes ")).expect("a size");
    assert!(size.parse::<f64>().unwrap() > 4_096.0, "{size}");
    if let Ok(mut promtool) = Command::new("promtool").args(["check", "metrics"]).stdin(std::process::Stdio::piped()).spawn() {
        tokio::io::AsyncWriteExt::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).await.unwrap();
        assert!(promtool.wait().await.unwrap().success());
    }
    server.stop(Duration::from_secs(15)).await;

    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().all(|line| line.get("spans").is_none()), "the span is told once");
    let find = |what: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| what(line)).collect::<Vec<_>>();
    let audited = |action: &str| find(&|line| line["target"] == "audit" && line["action"] == action);
    for (action, times) in [
        ("installation.create", 1),
        ("user.create", 2),
        ("user.role", 2),
        ("token.revoke", 1),
        ("member.add", 1),
        ("member.remove", 1),
        ("room.create", 1),
    ] {
        assert_eq!(audited(action).len(), times, "{action}\n{log}");
    }
    let [done, refused] = &audited("user.role")[..] else { panic!("{log}") };
    let (bob_id, ada_id) = (json!(bob.user.id), json!(ada.user.id));
    assert_eq!((&done["outcome"], &done["detail"], &done["on_user"]), (&json!("ok"), &json!("MODERATOR"), &bob_id));
    assert_eq!((&refused["by"], &refused["by_type"]), (&ada_id, &json!("USER")));
    assert_ne!(refused["outcome"], "ok");
    assert_eq!(refused["span"]["client"], "203.0.113.9", "{refused}");
    let answered = find(&|line| line["message"] == "answered" && line["status"] == 403);
    let [answered] = &answered[..] else { panic!("{log}") };
    assert_eq!((&answered["span"]["user"], &answered["code"]), (&ada_id, &refused["outcome"]), "{answered}");
    assert_eq!(answered["span"]["token"], json!(ada.token_id));
    assert!(!find(&|line| line["path"] == "/nothing%20here").is_empty(), "{log}");
    assert!(!find(&|line| line["message"] == "a WebSocket was opened" && line["user"] == ada_id).is_empty(), "{log}");
    assert!(!find(&|line| line["message"] == "a WebSocket was closed" && line["code"] == "1000").is_empty(), "{log}");
    for secret in ["sesame", "eyJ", "ada-the-first", "lobby"] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}
