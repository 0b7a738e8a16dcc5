//! A cluster whose NATS requires a password, and an attacker who subscribes and publishes there.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::nats::Nats;
use crate::needs;
use crate::server::{Api, Server};

const PATIENCE: Duration = Duration::from_secs(60);
/// A password with characters that must be encoded in a URL.
const PASSWORD: &str = "p@ss/w:rd,#%";
const ENCODED: &str = "p%40ss%2Fw%3Ard%2C%23%25";

async fn ready(api: &Api, wanted: impl Fn(&Value) -> bool) -> Value {
    let ready = async {
        loop {
            let answer = api.get("/readyz").await;
            if wanted(&answer["bus"]) {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ready).await.expect("/readyz says so")
}

fn environment(database: &str, nats: &str, data: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", database.to_owned()),
        ("NATS_URL", nats.to_owned()),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef-user".to_owned()),
        ("JWT_API_SECRET", "0123456789abcdef0123456789abcdef-client".to_owned()),
        ("CHATSPHERE_CONTENT_KEY", "0123456789abcdef0123456789abcdef-content".to_owned()),
        ("CHATSPHERE_DATA_DIR", data.display().to_string()),
    ]
}

async fn doctor(environment: &[(&str, String)], directory: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatsphere"));
    command.arg("doctor").env_clear().envs(environment.iter().map(|(name, value)| (name, value))).current_dir(directory);
    let output = command.output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_for_nats_is_used_and_a_wrong_one_is_reported() {
    let Some(program) = needs::nats_server() else { return };
    let Some(database) = needs::postgres_database().await else { return };
    let nats = Nats::start_with(&program, &["--user", "ada", "--pass", PASSWORD]).await;
    let directory = tempfile::tempdir().unwrap();
    let url = |password: &str| nats.url().replace("//", &format!("//ada:{password}@"));
    let (right, wrong) = (url(ENCODED), url("Wr0ngS3cret"));

    let data = directory.path().join("right");
    let right = environment(&database.url, &right, &data);
    let log = directory.path().join("right.log");
    let server = Server::start_logging(&data, 0, &right, File::create(&log).unwrap().into()).await;
    let api = Api::new(&server.url(), "");
    let answer = ready(&api, |bus| bus["connected"] == true).await;
    assert_eq!(answer["bus"], serde_json::json!({ "connected": true }));
    assert!(doctor(&right, directory.path()).await.contains("carries messages"));
    server.stop(Duration::from_secs(15)).await;
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("connected to NATS") && !log.contains("p@ss") && !log.contains("p%40ss"), "{log}");

    let data = directory.path().join("wrong");
    let wrong = environment(&database.url, &wrong, &data);
    let log = directory.path().join("wrong.log");
    let server = Server::start_logging(&data, 0, &wrong, File::create(&log).unwrap().into()).await;
    let api = Api::new(&server.url(), "");
    let answer = ready(&api, |bus| bus["reason"] == "unauthorized").await;
    assert_eq!((&answer["status"], &answer["bus"]["connected"]), (&Value::from("ok"), &Value::from(false)));
    let found = doctor(&wrong, directory.path()).await;
    assert!(found.contains("NATS is away (unauthorized)") && !found.contains("Wr0ngS3cret"), "{found}");
    server.stop(Duration::from_secs(15)).await;
    let log = fs::read_to_string(log).unwrap();
    let told = log.lines().filter(|line| line.contains("NATS is away")).count();
    assert!(told == 1 && log.contains("unauthorized") && log.contains("What to do"), "{log}");
    assert!(!log.contains("Wr0ngS3cret"), "{log}");
    database.drop().await;
}
