//! Tests of a change of rights that is stored while the control log can't be read.

use std::sync::Arc;

use serde_json::json;

use crate::database::{Database, administer, on_postgres};
use crate::server::{Server, Setup, elsewhere};
use crate::support::{Call, Person};

/// Makes reading an entry of the control log fail while `fault` says so; writing still works.
const PLANT: &str = "
    CREATE TABLE fault (present boolean NOT NULL);
    INSERT INTO fault VALUES (true);
    CREATE FUNCTION readable() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            IF (SELECT present FROM fault) AND current_query() LIKE 'SELECT%' THEN
                RAISE EXCEPTION 'planted' USING ERRCODE = 'admin_shutdown';
            END IF;
            RETURN true;
        END $$;
    ALTER TABLE control_log RENAME TO control_entries;
    CREATE VIEW control_log AS SELECT position, kind, subject, at FROM control_entries WHERE readable();";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stored_change_is_never_reported_as_failed() {
    on_postgres(stored_but_not_known).await;
}

/// Makes each kind of change that the control log has: a role, a name, a token.
fn changes<'a>(server: &'a Server, ada: &Person, bob: &Person) -> [Call<'a>; 3] {
    [
        server.call("PATCH", &format!("/api/users/{}", ada.id)).json(&json!({ "role": "MODERATOR" })).client(),
        server.call("PUT", "/api/auth/profile").json(&json!({ "username": "lovelace" })).bearer(&ada.token),
        server.delete(&format!("/api/tokens/{}", bob.token_id)).client(),
    ]
}

async fn stored_but_not_known(database: Arc<Database>) {
    // Creates the tables, before a server prepares statements that use them.
    elsewhere(&database).await.store.close().await;
    administer(&database.text, PLANT).await;
    administer(&database.text, "UPDATE fault SET present = false").await;
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    administer(&database.text, "UPDATE fault SET present = true").await;
    for call in changes(&server, &ada, &bob) {
        let answer = call.send().await;
        assert!(answer.header("retry-after").is_some());
        answer.refused(503, "outcome_unknown");
    }
    server.expect_faults(3);
    // The changes are stored.
    let users = server.get("/api/users").client().send().await.ok(200);
    let found = users.as_array().unwrap().iter().find(|user| user["id"] == json!(ada.id)).unwrap();
    assert_eq!((&found["username"], &found["role"]), (&json!("lovelace"), &json!("MODERATOR")));

    administer(&database.text, "UPDATE fault SET present = false").await;
    for call in changes(&server, &ada, &bob) {
        call.send().await.ok(200);
    }
    server.get("/api/auth/profile").bearer(&bob.token).send().await.refused(401, "token_revoked");
}
