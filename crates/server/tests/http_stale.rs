//! Tests that a node that can't check rights rejects every call.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use chatsphere_core::authority::STALE_AFTER;
use chatsphere_core::{Clock, Timestamp};
use support::{ROUTES, TestServer, World, start};

async fn call_all(server: &TestServer, world: &World) -> Vec<(String, u16, String)> {
    let mut answers = Vec::new();
    for (number, route) in ROUTES.iter().enumerate() {
        let target = support::Target {
            number,
            user: world.member.clone(),
            room: world.room.to_string(),
            token_id: world.stranger.token_id.clone(),
            message: world.room.to_string(),
        };
        // Calls from this machine may read metrics; a call through a proxy is not one.
        let mut call = server.call(route.method, &route.path_for(&target)).header("x-forwarded-for", "203.0.113.9").client();
        if let Some(body) = route.body {
            call = call.json(&body(&target));
        }
        let answer = call.send().await;
        let code = if answer.status.is_success() { String::new() } else { answer.problem() };
        answers.push((route.name(), answer.status.as_u16(), code));
    }
    answers
}

#[tokio::test]
async fn who_cannot_read_the_control_log_refuses_every_call() {
    let server = start().await;
    let world = World::new(&server).await;
    let users = server.get("/api/users").client().send().await.ok(200);

    // Calls are accepted up to this age of the last reading, and rejected after it.
    server.backend.clock.advance(STALE_AFTER);
    server.get("/api/users").client().send().await.ok(200);
    server.backend.clock.advance(Duration::from_millis(1));

    let refused = ROUTES.iter().filter(|route| !route.is_public()).count();
    for (name, status, code) in call_all(&server, &world).await {
        let public = ROUTES.iter().any(|route| route.name() == name && route.is_public());
        let expected = if public { (200, "") } else { (503, "authority_stale") };
        assert_eq!((status, code.as_str()), expected, "{name}");
    }
    server.expect_faults(refused);
    // The token itself is still verified, so an invalid one gets its own error.
    server.get("/api/users").bearer("x.y.z").send().await.refused(401, "token_invalid");

    // The log is read again: calls succeed, and nothing of the rejected ones was done.
    server.advance(Duration::ZERO).await;
    assert_eq!(server.get("/api/users").client().send().await.ok(200), users);
}

/// NTP and people set the wall clock. The age of the control log's last reading must not depend on it.
#[tokio::test]
async fn a_clock_that_is_set_changes_nothing_about_it() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let server = start().await;
    let clock = &server.backend.clock;
    let before = clock.now();
    clock.set_wall(Timestamp::from_millis(before.as_millis() - 3_600_000));
    server.get("/api/users").client().send().await.ok(200);
    clock.advance(STALE_AFTER + Duration::from_millis(1));
    server.get("/api/users").client().send().await.refused(503, "authority_stale");
    server.expect_faults(1);
    server.advance(Duration::ZERO).await;
    server.get("/api/users").client().send().await.ok(200);
    // Setting the clock forward does not change the age either.
    clock.set_wall(before.after(HOUR));
    server.get("/api/users").client().send().await.ok(200);
}
