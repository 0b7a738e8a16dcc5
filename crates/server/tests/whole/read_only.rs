//! Tests of a server whose PostgreSQL is temporarily read-only, as clients and load balancers see it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::needs;
use crate::server::Server;

const BOUND: Duration = Duration::from_secs(60);

/// Returns a statement that alters the database, and closes its connections, because the setting applies only to new sessions.
fn alter(what: &str) -> String {
    format!(
        "SET transaction_read_only = off;
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {what}', current_database()); END $$;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'chatsphere'"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_reported_and_service_resumes() {
    let Some(database) = needs::postgres_database().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data, 0, &[("DATABASE_URL", database.url.clone())]).await;
    let token = std::fs::read_to_string(data.join("client-token")).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let create = async || {
        let call = http.post(format!("{}/api/rooms", server.url())).bearer_auth(&token);
        let answer = call.json(&json!({ "name": "lobby" })).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let ready = async || http.get(format!("{}/readyz", server.url())).send().await.unwrap().status().as_u16();
    assert_eq!((create().await.0, ready().await), (201, 200));

    database.execute(&alter("SET default_transaction_read_only = on")).await;
    let begun = Instant::now();
    let refused = loop {
        match create().await {
            (201, _) => assert!(begun.elapsed() < BOUND, "it is still written"),
            (status, body) => break (status, body["code"].clone()),
        }
    };
    assert_eq!(refused, (503, json!("store_away")));
    while ready().await != 503 {
        assert!(begun.elapsed() < BOUND, "a load balancer is not told");
    }
    assert_eq!(http.get(format!("{}/livez", server.url())).send().await.unwrap().status(), 200);

    database.execute(&alter("RESET default_transaction_read_only")).await;
    let begun = Instant::now();
    while ready().await != 200 {
        assert!(begun.elapsed() < BOUND, "it does not come back by itself");
    }
    assert_eq!(create().await.0, 201);
    server.stop(Duration::from_secs(15)).await;
    database.drop().await;
}
