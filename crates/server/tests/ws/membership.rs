//! Tests of members who join and leave a room while others are subscribed.

use std::sync::Arc;

use chatsphere_core::RoomId;
use serde_json::{Value, json};

use crate::client::{Client, Got, live_seqs, number, page_seqs};
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT};
use crate::server::Server;
use crate::support::Person;

on_every_database!(
    joining_and_leaving_are_events,
    a_removed_member_receives_nothing_more_on_any_connection,
    a_removal_ends_a_replay_under_way,
    a_user_who_is_added_again_may_join_again,
    a_removed_admin_stays,
    removal_and_return_race_with_joins,
);

async fn joining_and_leaving_are_events(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let mut client = server.connect(&ada.token).await;
    client.join(room, json!({})).await;
    server.add(room, eve.id).await;
    server.add(room, eve.id).await;
    server.delete(&format!("/api/rooms/{room}/users/{}", eve.id)).bearer(&eve.token).send().await.ok(200);
    server.delete(&format!("/api/rooms/{room}/users/{}", bob.id)).bearer(&ada.token).send().await.ok(200);
    let user = |person: &Person| json!({ "id": person.id, "username": person.username });
    let event = |kind: &str, seq: u64, who: &Person, by: Value| {
        let at = "2026-11-22T09:56:10.473Z";
        json!({ "type": kind, "roomId": room, "seq": seq, "user": user(who), "by": by, "createdAt": at })
    };
    let admin = json!({ "id": server.admin_id, "username": "admin" });
    assert_eq!(client.frame().await, event("member_joined", 3, &eve, admin));
    assert_eq!(client.frame().await, event("member_left", 4, &eve, user(&eve)));
    assert_eq!(client.frame().await, event("member_left", 5, &bob, user(&ada)));
    client.quiet().await;
}

/// Waits until everything that was posted before has been delivered to everyone.
async fn settle(server: &Server, witness: &mut Client, room: RoomId, by: &Person) {
    for _ in 0..2 {
        let seq = server.say(room, by, "settled").await["seq"].clone();
        while witness.frame().await["seq"] != seq {}
    }
}

async fn a_removed_member_receives_nothing_more_on_any_connection(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let other_token = server.token(bob.id, json!({})).await;
    let mut witness = server.connect(&ada.token).await;
    witness.join(room, json!({})).await;
    let mut theirs = Vec::new();
    for token in [&bob.token, &bob.token, &other_token.token] {
        let mut client = server.connect(token).await;
        client.join(room, json!({})).await;
        theirs.push(client);
    }
    let elsewhere = server.room("elsewhere", &bob).await;
    theirs[0].join(elsewhere, json!({})).await;
    server.fill(room, &ada, (3..=20).map(|n| n.to_string())).await;
    server.remove(room, &bob).await;
    settle(&server, &mut witness, room, &ada).await;
    for client in &mut theirs {
        let frames = client.drain().await;
        assert_eq!(live_seqs(&frames, room), (3..=21).collect::<Vec<_>>());
        assert_eq!(frames.last().unwrap(), &json!({ "type": "left", "roomId": room, "reason": "removed" }));
        for (frame, code) in [
            (json!({ "type": "join", "roomId": room }), "not_a_member"),
            (json!({ "type": "join", "roomId": room, "since": 3 }), "not_a_member"),
            (json!({ "type": "message", "roomId": room, "content": "x" }), "not_a_member"),
        ] {
            assert_eq!(client.ask(frame).await["code"], code);
        }
    }
    for path in ["", "/messages", "/events?after=0", "/users"] {
        server.get(&format!("/api/rooms/{room}{path}")).bearer(&bob.token).send().await.refused(403, "not_a_member");
    }
    theirs[0].post(elsewhere, "another room").await;
    theirs[0].expect("new_message").await;
}

async fn a_removal_ends_a_replay_under_way(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (3..=600).map(|n| format!("{n}{}", "x".repeat(16 * 1024)))).await;
    // These clients read nothing, so their replay of 10 MB stops.
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect_narrow(server.addr, &bob.token).await;
        raw.send(&json!({ "type": "join", "roomId": room, "since": 0, "ref": "j" })).await;
        assert_eq!(raw.read().await.json()["type"], "join_confirmation");
        slow.push(raw);
    }
    server.remove(room, &bob).await;
    server.fill(room, &ada, (0..10).map(|_| "secret".to_owned())).await;
    for mut raw in slow {
        let mut cursor = 0;
        loop {
            let frame = raw.read().await;
            if frame.first != TEXT {
                continue;
            }
            assert!(!String::from_utf8_lossy(&frame.payload).contains("secret"));
            let frame = frame.json();
            if frame["type"] == "left" {
                assert_eq!(frame, json!({ "type": "left", "roomId": room, "reason": "removed" }));
                break;
            }
            assert_eq!(frame["type"], "previous_messages", "{frame}");
            assert_eq!(number(&frame["fromSeq"]), cursor + 1);
            cursor = number(&frame["toSeq"]);
            assert_eq!(page_seqs(&frame), (number(&frame["fromSeq"])..=cursor).collect::<Vec<_>>());
        }
        assert!(cursor < 600, "the replay was under way");
        raw.send(&json!({ "type": "ping" })).await;
        assert_eq!(raw.read().await.json(), json!({ "type": "pong" }));
    }
}

async fn a_user_who_is_added_again_may_join_again(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&bob.token).await;
    client.join(room, json!({})).await;
    for round in 0..5 {
        let removed = 3 + round * 4;
        server.remove(room, &bob).await;
        server.say(room, &ada, "meanwhile").await;
        assert_eq!(client.expect("member_left").await["seq"], removed);
        client.expect("left").await;
        server.add(room, bob.id).await;
        // After it is added again, it receives nothing until it joins. Then nothing is missing, not even messages from its
        // absence.
        client.quiet().await;
        let joined = client.join(room, json!({ "since": removed })).await;
        assert_eq!(joined.seqs(), [removed + 1, removed + 2]);
        server.say(room, &ada, "live").await;
        assert_eq!(client.expect("new_message").await["seq"], removed + 3);
    }
}

async fn a_removed_admin_stays(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let boss = server.user_as("boss", "ADMIN").await;
    server.add(room, boss.id).await;
    let mut client = server.connect(&boss.token).await;
    client.join(room, json!({})).await;
    server.remove(room, &boss).await;
    client.expect("member_left").await;
    server.say(room, &ada, "x").await;
    client.expect("new_message").await;
    client.quiet().await;
}

/// Joins repeatedly while the user is removed and added. Events are never out of order, and none comes after `left`.
async fn removal_and_return_race_with_joins(database: Arc<Database>) {
    let server = Arc::new(Server::start(&database).await);
    let (room, ada, bob) = server.pair().await;
    let changing = tokio::spawn({
        let (server, ada, bob) = (server.clone(), ada.clone(), bob.clone());
        async move {
            for _ in 0..40 {
                server.remove(room, &bob).await;
                server.say(room, &ada, "unheard").await;
                server.add(room, bob.id).await;
                server.say(room, &ada, "heard").await;
            }
        }
    });
    let mut client = server.connect(&bob.token).await;
    let (mut cursor, mut inside) = (0, false);
    while !changing.is_finished() || !inside {
        client.send(json!({ "type": "join", "roomId": room, "since": cursor, "ref": "j" })).await;
        let mut confirmed = false;
        loop {
            let Got::Frame(frame) = client.next().await else { panic!("closed") };
            match frame["type"].as_str().unwrap() {
                "join_confirmation" => (inside, confirmed) = (true, true),
                "previous_messages" => {
                    assert!(inside, "outside: {frame}");
                    let before = cursor;
                    for seq in page_seqs(&frame).into_iter().filter(|seq| *seq > before) {
                        assert_eq!(seq, cursor + 1, "{frame}");
                        cursor = seq;
                    }
                    if frame["more"] == false {
                        break;
                    }
                }
                "left" => {
                    assert_eq!(frame["reason"], "removed");
                    inside = false;
                    // `left` ends this join, or the one before while this one is unanswered.
                    if confirmed {
                        break;
                    }
                }
                "error" => {
                    assert_eq!(frame["code"], "not_a_member");
                    break;
                }
                _ => {
                    assert!(inside, "outside: {frame}");
                    let seq = number(&frame["seq"]);
                    // Live events may overtake the answer to a second join, but never leave a gap.
                    assert!(seq <= cursor + 1, "{cursor}: {frame}");
                    cursor = cursor.max(seq);
                }
            }
        }
    }
    changing.await.unwrap();
    let head = server.say(room, &ada, "last").await["seq"].clone();
    while number(&head) > cursor {
        let frame = client.frame().await;
        if frame["type"] == "left" {
            // The last removal came after the join.
            client.send(json!({ "type": "join", "roomId": room, "since": cursor, "ref": "j" })).await;
        } else if frame["type"] == "previous_messages" {
            cursor = cursor.max(number(&frame["toSeq"]));
        } else if let Some(seq) = frame["seq"].as_u64().filter(|_| frame["type"] != "join_confirmation") {
            cursor = cursor.max(seq);
        }
    }
}
