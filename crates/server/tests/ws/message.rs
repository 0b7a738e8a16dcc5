//! Tests of posting messages over WebSocket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::Limits;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, number};
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{PING, Raw, TEXT, frame};
use crate::server::{Server, Setup};

on_every_database!(
    a_message_with_a_ref_gets_an_ack,
    pipelined_messages_keep_their_order,
    messages_beyond_the_send_window_are_not_lost,
    a_retry_is_the_same_message,
    only_client_tokens_name_the_author,
    membership_is_needed_and_joining_is_not,
    a_rate_limited_message_says_when_to_retry,
    a_flood_ends_the_connection,
    fragments_without_an_end_are_a_flood,
    a_client_that_reconnects_joins_all_rooms_and_retries_all_messages,
    an_application_is_not_limited,
    frames_that_come_too_fast_are_read_later,
    a_message_that_trickles_in_ends_the_connection,
    content_has_its_limits,
    a_sent_message_is_stored_though_the_sender_is_gone,
);

async fn a_message_with_a_ref_gets_an_ack(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    client.send(json!({ "type": "message", "roomId": room, "content": "silent" })).await;
    client.send(json!({ "type": "message", "roomId": room, "content": "two", "ref": "r" })).await;
    client.send(json!({ "type": "message", "roomId": room, "content": "three", "clientMessageId": "c" })).await;
    client.send(json!({ "type": "message", "roomId": room, "content": "four", "clientMessageId": "d", "ref": "s" })).await;
    let events = loop {
        let events = server.events(room).await;
        if events.len() == 6 {
            break events;
        }
    };
    let at = "2026-11-22T09:56:10.473Z";
    let id = |place: usize| events[place]["message"]["id"].clone();
    let mut acks = [client.frame().await, client.frame().await, client.frame().await];
    acks.sort_by_key(|ack| number(&ack["seq"]));
    let expected = [
        json!({ "type": "ack", "roomId": room, "id": id(3), "seq": 4, "createdAt": at, "ref": "r" }),
        json!({ "type": "ack", "roomId": room, "id": id(4), "seq": 5, "createdAt": at, "clientMessageId": "c" }),
        json!({ "type": "ack", "roomId": room, "id": id(5), "seq": 6, "createdAt": at, "clientMessageId": "d", "ref": "s" }),
    ];
    assert_eq!(acks, expected);
    client.quiet().await;
    client.join(room, json!({})).await;
    client.send(json!({ "type": "message", "roomId": room, "content": "five", "clientMessageId": "e" })).await;
    let mut both = [client.frame().await, client.frame().await];
    both.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
    let new = json!({
        "type": "new_message", "roomId": room, "seq": 7, "message": {
            "id": both[0]["id"], "roomId": room, "userId": ada.id, "seq": 7, "content": "five",
            "createdAt": at, "updatedAt": at,
            "clientMessageId": "e", "user": { "id": ada.id, "username": "ada" },
        },
    });
    assert_eq!(both[1], new);
}

async fn pipelined_messages_keep_their_order(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    for n in 0..500 {
        client.feed(json!({ "type": "message", "roomId": room, "content": n.to_string(), "ref": n.to_string() })).await;
    }
    client.flush().await;
    for _ in 0..500 {
        let ack = client.expect("ack").await;
        assert_eq!(number(&ack["seq"]), ack["ref"].as_str().unwrap().parse::<u64>().unwrap() + 3);
    }
    let contents: Vec<_> = server.events(room).await[2..].iter().map(|event| event["message"]["content"].clone()).collect();
    assert_eq!(contents, (0..500).map(|n| json!(n.to_string())).collect::<Vec<_>>());
}

async fn messages_beyond_the_send_window_are_not_lost(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.unanswered_sends = 1)).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    client.join(room, json!({})).await;
    for n in 0..200 {
        client.feed(json!({ "type": "message", "roomId": room, "content": "x".repeat(5_000), "ref": n.to_string() })).await;
    }
    client.feed(json!({ "type": "ping", "ref": "last" })).await;
    client.flush().await;
    let (mut acks, mut news) = (0, 0);
    while acks + news < 400 {
        let frame = client.frame().await;
        match frame["type"].as_str() {
            Some("ack") => {
                assert_eq!(frame["ref"], acks.to_string(), "one at a time, so in order");
                acks += 1;
            }
            Some("new_message") => news += 1,
            Some("pong") => assert!(acks >= 199, "read only once the sends before it were answered"),
            _ => panic!("{frame}"),
        }
    }
    assert_eq!((acks, news), (200, 200));
}

async fn a_retry_is_the_same_message(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    let message = |content: &str| json!({ "type": "message", "roomId": room, "content": content, "clientMessageId": "once" });
    // Retries: several in flight together, on another connection, and over REST.
    for _ in 0..5 {
        client.feed(message("hello")).await;
    }
    client.flush().await;
    let first = client.expect("ack").await;
    for _ in 0..4 {
        assert_eq!(client.expect("ack").await, first);
    }
    let mut again = server.connect(&ada.token).await;
    again.send(message("hello")).await;
    assert_eq!(again.expect("ack").await, first);
    let body = json!({ "content": "hello", "clientMessageId": "once" });
    let answer = server.post(&format!("/api/rooms/{room}/messages"), &body).bearer(&ada.token).send().await;
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(answer.json()["id"], first["id"]);

    again.send(message("something else")).await;
    let error = again.refused("client_message_id_reused").await;
    assert_eq!(
        (&error["clientMessageId"], &error["roomId"], &error["retryable"]),
        (&json!("once"), &json!(room), &json!(false))
    );
    // The scope of the id is one author in one room.
    let other = server.room("other", &ada).await;
    again.send(json!({ "type": "message", "roomId": other, "content": "x", "clientMessageId": "once" })).await;
    assert_eq!(again.expect("ack").await["seq"], 2);
    let mut bobs = server.connect(&bob.token).await;
    bobs.send(message("mine")).await;
    assert_eq!(bobs.expect("ack").await["seq"], 4);
    assert_eq!(server.events(room).await.len(), 4);
}

async fn only_client_tokens_name_the_author(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let boss = server.user_as("boss", "ADMIN").await;
    let message = |user: &str| json!({ "type": "message", "roomId": room, "content": "x", "userId": user });
    for person in [&ada, &boss] {
        let mut client = server.connect(&person.token).await;
        let answer = client.ask(message(&bob.id.to_string())).await;
        assert_eq!((&answer["code"], &answer["roomId"]), (&json!("not_yourself"), &json!(room)));
        assert_eq!(client.ask(message(&person.id.to_string())).await["type"], "ack");
    }
    let mut client = server.connect(&server.client_token).await;
    client.join(room, json!({})).await;
    client.send(message(&bob.id.to_string())).await;
    assert_eq!(client.expect("new_message").await["message"]["user"]["username"], "bob");
    for user in ["0198c0de-7c1a-7000-8000-0123456789ab", "bob", ""] {
        assert_eq!(client.ask(message(user)).await["code"], "user_not_found", "{user}");
    }
    let answer =
        client.ask(json!({ "type": "message", "roomId": "0198c0de-7c1a-7000-8000-0123456789ab", "content": "x" })).await;
    assert_eq!(answer["code"], "room_not_found");
}

async fn membership_is_needed_and_joining_is_not(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let stranger = server.user("stranger").await;
    let mut client = server.connect(&stranger.token).await;
    for id in [room.to_string(), "0198c0de-7c1a-7000-8000-0123456789ab".to_owned(), "x".to_owned()] {
        let message = json!({ "type": "message", "roomId": id, "content": "x", "clientMessageId": "c" });
        let answer = client.ask(message).await;
        assert_eq!((&answer["code"], &answer["clientMessageId"]), (&json!("not_a_member"), &json!("c")));
    }
    let mut member = server.connect(&ada.token).await;
    assert_eq!(member.post(room, "x").await["seq"], 3);
    member.quiet().await;
}

async fn a_rate_limited_message_says_when_to_retry(database: Arc<Database>) {
    let setup = Setup::limits(|limits| (limits.messages_per_second, limits.message_burst) = (20, 100));
    let server = Server::start_with(&database, setup).await;
    let (room, ada, bob) = server.pair().await;
    let mut clients = [server.connect(&ada.token).await, server.connect(&ada.token).await];
    for n in 0..100 {
        clients[n % 2].post(room, "x").await;
    }
    let message = json!({ "type": "message", "roomId": room, "content": "y", "clientMessageId": "c" });
    for client in &mut clients {
        let error = client.ask(message.clone()).await;
        let expected = json!({
            "type": "error", "code": "rate_limited", "message": error["message"], "roomId": room, "clientMessageId": "c",
            "retryable": true, "retryAfterMs": 50, "ref": error["ref"],
        });
        assert_eq!(error, expected);
    }
    server.connect(&bob.token).await.post(room, "another user").await;
    server.connect(&server.client_token).await.post(room, "an application").await;
    server.advance(Duration::from_millis(50)).await;
    assert_eq!(clients[0].ask(message.clone()).await["type"], "ack");
    assert_eq!(clients[1].ask(message).await["code"], "rate_limited");
}

async fn a_flood_ends_the_connection(database: Arc<Database>) {
    let setup = Setup::limits(|limits| (limits.messages_per_second, limits.message_burst) = (1, 10));
    let server = Server::start_with(&database, setup).await;
    let (room, ada, bob) = server.pair().await;
    let mut other = server.connect(&ada.token).await;
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    let ping = frame(TEXT, br#"{"type":"ping"}"#);
    raw.write(&ping.repeat(1_500)).await;
    let mut pongs = 0;
    let error = loop {
        let frame = raw.read().await.json();
        match frame["type"].as_str() {
            Some("pong") => pongs += 1,
            _ => break frame,
        }
    };
    assert!((1_000..1_500).contains(&pongs), "{pongs}");
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("flood")));
    raw.closed(4029).await;
    other.join(room, json!({})).await;
    server.say(room, &bob, "x").await;
    other.expect("new_message").await;
}

async fn fragments_without_an_end_are_a_flood(database: Arc<Database>) {
    let setup = Setup::limits(|limits| (limits.messages_per_second, limits.message_burst) = (1, 10));
    let server = Server::start_with(&database, setup).await;
    let ada = server.user("ada").await;
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    // The fragments end, after more of them than allowed. A server that does not count them would answer the ping.
    let (begin, more, end) = (frame(0x01, br#"{"type":"#), frame(0x00, b"").repeat(10_000), frame(0x80, br#""ping"}"#));
    raw.write(&[begin, more, end].concat()).await;
    let error = raw.read().await.json();
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("flood")));
    raw.closed(4029).await;
}

/// A client does after a reconnect what docs/websocket.md says, as fast as the network permits.
async fn a_client_that_reconnects_joins_all_rooms_and_retries_all_messages(database: Arc<Database>) {
    let setup = Setup::limits(|limits| {
        let usual = Limits::default();
        (limits.messages_per_second, limits.message_burst) = (usual.messages_per_second, usual.message_burst);
        // The number of rooms that the default limits allow, without the time to create them.
        limits.rooms_per_connection = 200;
    });
    let server = Server::start_with(&database, setup).await;
    let ada = server.user("ada").await;
    let mut rooms = Vec::new();
    for n in 0..200 {
        server.advance(Duration::from_secs(1)).await;
        rooms.push(server.room(&format!("room {n}"), &ada).await);
    }
    server.advance(Duration::from_secs(60)).await;
    for path in ["/ws", "/"] {
        let mut client = Client::connect_at(server.addr, path, &ada.token).await;
        for round in 0..3 {
            for room in &rooms {
                client.feed(json!({ "type": "join", "roomId": room, "since": 0, "ref": "join" })).await;
                client.feed(json!({ "type": "leave", "roomId": room })).await;
            }
            client.flush().await;
            let mut answers = 0;
            while answers < 3 * rooms.len() {
                let frame = client.frame().await;
                answers += usize::from(matches!(
                    frame["type"].as_str(),
                    Some("join_confirmation" | "previous_messages" | "leave_confirmation")
                ));
                assert_ne!(frame["type"], "error", "{path} {round}: {frame}");
            }
        }
    }
    let mut client = server.connect(&ada.token).await;
    // There are more messages than the rate limit allows at once. Rejected ones are sent again after the delay in their error.
    let mut waiting: VecDeque<u64> = (0..160).collect();
    for room in &rooms {
        client.feed(json!({ "type": "join", "roomId": room, "since": 0 })).await;
    }
    let (mut acked, mut refused) = (0, 0);
    while acked < 160 {
        while let Some(n) = waiting.pop_front() {
            client
                .feed(json!({ "type": "message", "roomId": rooms[0], "content": "x", "clientMessageId": n.to_string() }))
                .await;
        }
        client.flush().await;
        let frame = client.frame().await;
        match frame["type"].as_str() {
            Some("ack") => acked += 1,
            Some("error") => {
                assert_eq!((&frame["code"], &frame["retryable"]), (&json!("rate_limited"), &json!(true)));
                refused += 1;
                waiting.push_back(frame["clientMessageId"].as_str().unwrap().parse().unwrap());
                server.backend.clock.advance(Duration::from_millis(number(&frame["retryAfterMs"])));
            }
            _ => {}
        }
    }
    assert!(refused > 0, "nothing of this was too much");
}

/// A CLIENT token has no rate limit: only its send window throttles it.
async fn an_application_is_not_limited(database: Arc<Database>) {
    let setup = Setup::limits(|limits| (limits.messages_per_second, limits.message_burst) = (1, 1));
    let server = Server::start_with(&database, setup).await;
    let ada = server.user("ada").await;
    let room = server.room("lobby", &ada).await;
    let mut client = server.connect(&server.client_token).await;
    let most = usize::try_from(number(&client.hello["limits"]["unansweredSends"])).unwrap();
    let (mut sent, mut acked) = (0, 0);
    while acked < 4_000 {
        while sent < 4_000 && sent - acked < most {
            client
                .feed(json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": sent.to_string() }))
                .await;
            sent += 1;
        }
        client.flush().await;
        client.expect("ack").await;
        acked += 1;
    }
    for _ in 0..3_000 {
        client.feed(json!({ "type": "ping" })).await;
    }
    client.flush().await;
    for _ in 0..3_000 {
        client.expect("pong").await;
    }
}

/// A client above the frame rate is read more slowly, and is not closed.
async fn frames_that_come_too_fast_are_read_later(database: Arc<Database>) {
    let setup = Setup::limits(|limits| {
        (limits.messages_per_second, limits.message_burst, limits.rooms_per_connection) = (1, 1, 1);
    });
    let server = Server::start_with(&database, setup).await;
    let ada = server.user("ada").await;
    let room = server.room("lobby", &ada).await;
    let mut client = server.connect(&ada.token).await;
    let begun = std::time::Instant::now();
    // The limit is 1,000 frames at once, and 200 in a second.
    for n in 0..1_100 {
        client.feed(json!({ "type": "leave", "roomId": room, "ref": n.to_string() })).await;
    }
    client.flush().await;
    for n in 0..1_100 {
        assert_eq!(client.expect("leave_confirmation").await["ref"], n.to_string());
    }
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    client.quiet().await;
}

/// A message that never ends keeps its connection open no longer than an idle one.
async fn a_message_that_trickles_in_ends_the_connection(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::times(|times| times.message = Duration::from_millis(400))).await;
    let (room, ada, _) = server.pair().await;
    let text = json!({ "type": "message", "roomId": room, "content": "x" }).to_string();
    let whole = frame(TEXT, text.as_bytes());
    // An incomplete frame, endless fragments, endless fragments with pings between them, and an incomplete ping.
    let begun = frame(0x01, &text.as_bytes()[..10]);
    for (first, then) in [
        (whole[..9].to_vec(), Vec::new()),
        (whole[..1].to_vec(), Vec::new()),
        (begun.clone(), frame(0x00, &text.as_bytes()[10..11])),
        (begun, frame(PING, b"still there")),
        (frame(PING, b"still there")[..3].to_vec(), Vec::new()),
    ] {
        let mut raw = Raw::connect(server.addr, &ada.token).await;
        raw.write(&first).await;
        let error = loop {
            raw.write(&then).await;
            match tokio::time::timeout(Duration::from_millis(20), raw.tcp.readable()).await {
                Err(_) => continue,
                Ok(readable) => readable.unwrap(),
            }
            let frame = raw.read().await;
            if frame.first == TEXT {
                break frame.json();
            }
        };
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("slow_message")), "{error}");
        raw.closed(1008).await;
    }
    // A message that is sent in pieces and ends in time is allowed, again and again.
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(1_200) {
        raw.write(&whole).await;
        raw.write(&whole[..20]).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        raw.write(&whole[20..]).await;
    }
    raw.send(&json!({ "type": "ping", "ref": "alive" })).await;
    assert_eq!(raw.read().await.json(), json!({ "type": "pong", "ref": "alive" }));
}

async fn content_has_its_limits(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    let message = |content: &str| json!({ "type": "message", "roomId": room, "content": content, "clientMessageId": "c" });
    for content in [String::new(), "x".repeat(32 * 1024 + 1), "é".repeat(16 * 1024) + "x", "nul \0 inside".to_owned()] {
        let error = client.ask(message(&content)).await;
        assert_eq!((&error["code"], &error["clientMessageId"]), (&json!("invalid"), &json!("c")));
        assert!(error["message"].as_str().unwrap().starts_with("content: must"), "{error}");
    }
    for id in ["", "tab\t", &"x".repeat(65)] {
        let error = client.ask(json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": id })).await;
        assert_eq!(error["code"], "invalid");
        assert!(error["message"].as_str().unwrap().starts_with("clientMessageId: must"), "{error}");
    }
    let mut reader = server.connect(&bob.token).await;
    reader.join(room, json!({})).await;
    for content in ["x".repeat(32 * 1024), " ".to_owned(), "\u{1}\u{7f}\u{2028}\u{feff}\u{10ffff}\"\\/".to_owned()] {
        client.post(room, &content).await;
        assert_eq!(reader.expect("new_message").await["message"]["content"], content);
    }
}

async fn a_sent_message_is_stored_though_the_sender_is_gone(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut witness = server.connect(&bob.token).await;
    witness.join(room, json!({})).await;
    let message =
        |n: u64| frame(TEXT, json!({ "type": "message", "roomId": room, "content": n.to_string() }).to_string().as_bytes());
    for n in 0..20 {
        let mut raw = Raw::connect(server.addr, &ada.token).await;
        raw.write(&message(n)).await;
        // Half of the clients close in order, the others without a close frame.
        if n % 2 == 0 {
            raw.tcp.shutdown().await.unwrap();
        } else {
            raw.tcp.set_zero_linger().unwrap();
        }
        drop(raw);
        // A reset may overtake earlier data; an orderly close does not.
        let content = json!(n.to_string());
        while n % 2 == 0 && witness.expect("new_message").await["message"]["content"] != content {}
    }
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    let burst: Vec<u8> = (100..150).flat_map(message).collect();
    raw.write(&burst).await;
    raw.tcp.shutdown().await.unwrap();
    let mut last = Value::Null;
    while last != "149" {
        last = witness.expect("new_message").await["message"]["content"].clone();
    }
    let contents: Vec<_> =
        server.events(room).await.iter().filter_map(|event| event["message"]["content"].as_str()?.parse().ok()).collect();
    assert_eq!(contents.iter().filter(|n| **n >= 100).copied().collect::<Vec<u64>>(), (100..150).collect::<Vec<_>>());
}
