//! Tests of the answers to joins.

use std::sync::Arc;

use chatsphere_core::RoomId;
use serde_json::{Value, json};

use crate::client::{Client, number, page_seqs};
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, RawFrame};
use crate::server::{Server, Setup};

on_every_database!(
    without_since_the_newest_come,
    an_old_message_is_shown_though_newer_events_crowd_it_out,
    with_since_everything_after_it_comes,
    a_join_says_why_a_replay_is_not_possible,
    a_replay_of_ten_thousand_comes_whole,
    large_messages_do_not_overflow_the_queue,
    joining_again_answers_again_and_live_goes_on,
    a_rejected_join_reveals_nothing_about_the_room,
    a_token_without_read_may_not_join,
    no_frame_is_larger_than_hello_says,
);

async fn without_since_the_newest_come(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&bob.token).await;
    let joined = client.join(room, json!({})).await;
    let epoch = joined.confirmation["epoch"].clone();
    assert!(epoch.as_str().is_some_and(|epoch| !epoch.is_empty()));
    let reference = joined.confirmation["ref"].clone();
    let confirmation = json!({
        "type": "join_confirmation", "roomId": room, "seq": 2, "epoch": epoch, "recovered": false, "ref": reference,
    });
    assert_eq!(joined.confirmation, confirmation);
    let member = |seq: u64, user: &crate::support::Person, by: Value| {
        json!({
            "type": "member_joined", "roomId": room, "seq": seq, "user": { "id": user.id, "username": user.username }, "by": by,
            "createdAt": "2026-11-22T09:56:10.473Z",
        })
    };
    let page = json!({
        "type": "previous_messages", "roomId": room, "messages": [],
        "events": [
            member(1, &ada, json!({ "id": ada.id, "username": "ada" })),
            member(2, &bob, json!({ "id": server.admin_id, "username": "admin" })),
        ],
        "fromSeq": 1, "toSeq": 2, "more": false, "ref": reference,
    });
    assert_eq!(joined.pages, [page]);

    server.fill(room, &ada, (3..=63).map(|n| format!("message {n}"))).await;
    let mut fresh = server.connect(&bob.token).await;
    let joined = fresh.join(room, json!({})).await;
    assert_eq!((&joined.confirmation["seq"], &joined.confirmation["recovered"]), (&json!(63), &json!(false)));
    let [page] = &joined.pages[..] else { panic!("{:?}", joined.pages) };
    assert_eq!((&page["fromSeq"], &page["toSeq"], &page["more"]), (&json!(14), &json!(63), &json!(false)));
    assert_eq!(page_seqs(page), (14..=63).collect::<Vec<_>>());
    let message = &page["messages"][0];
    let expected = json!({
        "id": message["id"], "roomId": room, "userId": ada.id, "seq": 14, "content": "message 14",
        "createdAt": "2026-11-22T09:56:10.473Z", "updatedAt": "2026-11-22T09:56:10.473Z",
        "user": { "id": ada.id, "username": "ada" },
    });
    assert_eq!(*message, expected);
}

async fn an_old_message_is_shown_though_newer_events_crowd_it_out(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    server.say(room, &ada, "old").await;
    for _ in 0..105 {
        server.remove(room, &bob).await;
        server.add(room, bob.id).await;
    }
    let mut client = server.connect(&ada.token).await;
    let joined = client.join(room, json!({})).await;
    assert_eq!(joined.confirmation["seq"], 213);
    assert_eq!(joined.to_seq(), 213);
    let messages: Vec<_> = joined.pages.iter().flat_map(|page| page["messages"].as_array().unwrap()).collect();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["content"], "old");
    let mut cursor = number(&joined.pages[0]["fromSeq"]) - 1;
    for page in &joined.pages {
        assert_eq!(number(&page["fromSeq"]), cursor + 1);
        let whole: Vec<u64> = page_seqs(page).into_iter().filter(|seq| *seq > cursor).collect();
        cursor = number(&page["toSeq"]);
        assert_eq!(whole, (number(&page["fromSeq"])..=cursor).collect::<Vec<_>>());
    }
}

/// Joins again from `since`, and asserts that everything after it arrives in complete pages.
async fn replay(client: &mut Client, room: RoomId, since: u64, head: u64) -> usize {
    let joined = client.join(room, json!({ "since": since })).await;
    assert_eq!((&joined.confirmation["recovered"], &joined.confirmation["seq"]), (&json!(true), &json!(head)), "since {since}");
    assert_eq!(joined.confirmation.get("reason"), None);
    let mut cursor = since;
    for page in &joined.pages {
        assert_eq!(number(&page["fromSeq"]), cursor + 1, "since {since}");
        cursor = number(&page["toSeq"]);
        assert_eq!(page_seqs(page), (number(&page["fromSeq"])..=cursor).collect::<Vec<_>>(), "since {since}");
        assert_eq!(page["more"], cursor < head);
    }
    assert_eq!(cursor, head);
    joined.pages.len()
}

async fn with_since_everything_after_it_comes(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (3..=250).map(|n| n.to_string())).await;
    let mut client = server.connect(&bob.token).await;
    let epoch = client.join(room, json!({})).await.confirmation["epoch"].clone();
    for (since, pages) in [(0, 3), (1, 3), (50, 2), (149, 2), (150, 1), (249, 1), (250, 1)] {
        client.ask(json!({ "type": "leave", "roomId": room })).await;
        assert_eq!(replay(&mut client, room, since, 250).await, pages, "since {since}");
    }
    client.join(room, json!({ "since": 200, "epoch": epoch })).await;
    client.join(room, json!({ "since": null, "epoch": null })).await;
    client.post(room, "live").await;
    assert_eq!(client.expect("new_message").await["seq"], 251);
}

async fn a_join_says_why_a_replay_is_not_possible(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.replay_events = 100)).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (3..=160).map(|n| n.to_string())).await;
    let mut client = server.connect(&bob.token).await;
    assert_eq!(client.hello["limits"]["replayEvents"], 100);
    let huge = [161, u64::from(u32::MAX), 1 << 53, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]
        .map(|since| json!({ "since": since }));
    let mut cases = vec![
        (json!({ "since": 59 }), "too_many_events"),
        (json!({ "since": 0 }), "too_many_events"),
        (json!({ "since": 160, "epoch": "another" }), "epoch_changed"),
        (json!({ "since": 0, "epoch": "" }), "epoch_changed"),
        (json!({ "since": 500, "epoch": "another" }), "epoch_changed"),
    ];
    cases.extend(huge.map(|since| (since, "since_ahead")));
    for (ask, reason) in cases {
        let joined = client.join(room, ask.clone()).await;
        assert_eq!(
            (&joined.confirmation["recovered"], &joined.confirmation["reason"]),
            (&json!(false), &json!(reason)),
            "{ask}"
        );
        assert_eq!(joined.seqs(), (111..=160).collect::<Vec<_>>(), "{ask}");
        client.ask(json!({ "type": "leave", "roomId": room })).await;
    }
    // The largest number of events that a replay may have. An epoch without `since` has no effect.
    assert_eq!(client.join(room, json!({ "since": 60 })).await.seqs(), (61..=160).collect::<Vec<_>>());
    assert_eq!(client.join(room, json!({ "epoch": "another" })).await.confirmation.get("reason"), None);
}

async fn a_replay_of_ten_thousand_comes_whole(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (3..=10_001).map(|n| n.to_string())).await;
    let mut client = server.connect(&bob.token).await;
    assert_eq!(client.join(room, json!({ "since": 0 })).await.confirmation["reason"], "too_many_events");
    assert_eq!(replay(&mut client, room, 1, 10_001).await, 100);
}

async fn large_messages_do_not_overflow_the_queue(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    // Each message is six times as long in JSON: 19 MiB in all, with a queue of 1 MiB.
    server.fill(room, &ada, (0..100).map(|_| "\u{1}".repeat(32 * 1024))).await;
    let mut client = server.connect(&bob.token).await;
    for ask in [json!({ "since": 0 }), json!({ "since": 2 }), json!({})] {
        let joined = client.join(room, ask.clone()).await;
        assert_eq!(joined.to_seq(), 102);
        let first = number(&joined.pages[0]["fromSeq"]);
        assert_eq!(joined.seqs(), (first..=102).collect::<Vec<_>>(), "{ask}");
        for page in &joined.pages {
            assert!(
                page["messages"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|message| message["content"].as_str().unwrap().len() == 32 * 1024)
            );
        }
    }
    client.post(room, "after").await;
    assert_eq!(client.expect("new_message").await["seq"], 103);
}

async fn joining_again_answers_again_and_live_goes_on(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (3..=300).map(|n| n.to_string())).await;
    let mut client = server.connect(&bob.token).await;
    client.join(room, json!({})).await;
    let references = [json!({ "since": 0 }), json!({}), json!({ "since": 300 }), json!({ "since": 299 })];
    let mut asked = Vec::new();
    for more in references {
        let mut frame = json!({ "type": "join", "roomId": room });
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked.push(client.reference(frame).await);
    }
    server.fill(room, &ada, (301..=400).map(|n| n.to_string())).await;
    for reference in asked {
        assert_eq!(client.answer(&reference).await["type"], "join_confirmation");
        while client.answer(&reference).await["more"] == true {}
    }
    let mut live = Vec::new();
    while live.last() != Some(&400) {
        live.push(number(&client.expect("new_message").await["seq"]));
    }
    assert_eq!(live, (301..=400).collect::<Vec<_>>(), "each once");
    client.quiet().await;
}

async fn a_rejected_join_reveals_nothing_about_the_room(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let stranger = server.user("stranger").await;
    let moderator = server.user_as("moderator", "MODERATOR").await;
    let admin = server.user_as("boss", "ADMIN").await;
    let unknown = "0198c0de-7c1a-7000-8000-0123456789ab".to_owned();
    let ids = [room.to_string(), unknown.clone(), "lobby".to_owned(), String::new()];
    for person in [&stranger, &moderator] {
        let mut client = server.connect(&person.token).await;
        let mut answers = Vec::new();
        for id in &ids {
            let mut answer = client.ask(json!({ "type": "join", "roomId": id })).await;
            assert_eq!(answer["roomId"], *id);
            answer["roomId"].take();
            answer["ref"].take();
            answers.push(answer);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "all alike");
        assert_eq!((&answers[0]["type"], &answers[0]["code"]), (&json!("error"), &json!("not_a_member")));
        assert_eq!(answers[0]["retryable"], false);
    }
    for token in [&server.client_token, &admin.token] {
        let mut client = server.connect(token).await;
        for id in &ids[1..] {
            let answer = client.ask(json!({ "type": "join", "roomId": id })).await;
            assert_eq!((&answer["code"], &answer["roomId"]), (&json!("room_not_found"), &json!(id)));
        }
        client.join(room, json!({ "since": 0 })).await;
        server.say(room, &ada, "to all").await;
        client.expect("new_message").await;
    }
}

async fn a_token_without_read_may_not_join(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let writer = server.token(ada.id, json!({ "permissions": { "write": true } })).await;
    let mut client = server.connect(&writer.token).await;
    assert_eq!(client.ask(json!({ "type": "join", "roomId": room })).await["code"], "needs_read");
    client.post(room, "unseen").await;
    client.quiet().await;
}

/// The messages have all the characters that JSON escapes, and names are as long as allowed.
async fn no_frame_is_larger_than_hello_says(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let wide = server.user(&"\u{1f980}".repeat(64)).await;
    let quoted = server.user(&"\"".repeat(64)).await;
    let room = server.room("lobby", &quoted).await;
    for _ in 0..100 {
        server.add(room, wide.id).await;
        server.remove(room, &wide).await;
    }
    server.add(room, wide.id).await;
    let contents = ["\u{1}".repeat(32 * 1024), "\"".repeat(32 * 1024), "\u{1f980}".repeat(8 * 1024), "\\".repeat(3_000)];
    let quotes = "\"".repeat(64);
    let mut reader = Raw::connect(server.addr, &wide.token).await;
    reader.send(&json!({ "type": "join", "roomId": room })).await;
    let told = server.connect(&quoted.token).await;
    let most = usize::try_from(number(&told.hello["limits"]["largestFrameBytes"])).unwrap();
    let mut largest = 0;
    let mut measure = |frame: &RawFrame| {
        assert!(frame.payload.len() <= most, "{} bytes are more than {most}", frame.payload.len());
        largest = largest.max(frame.payload.len());
    };
    measure(&reader.read().await);
    measure(&reader.read().await);
    for n in 0..24_usize {
        let id = format!("{}{}", "\"".repeat(62), (b'a' + u8::try_from(n).unwrap()) as char);
        // This uses REST, whose bodies may be larger than frames.
        let body = json!({ "content": contents[n % 4], "clientMessageId": id });
        server.post(&format!("/api/rooms/{room}/messages"), &body).bearer(&quoted.token).send().await.ok(201);
        measure(&reader.read().await);
    }
    for since in [None, Some(0), Some(201)] {
        let mut raw = Raw::connect(server.addr, &quoted.token).await;
        raw.send(&json!({ "type": "join", "roomId": room, "since": since, "ref": quotes })).await;
        loop {
            let frame = raw.read().await;
            measure(&frame);
            let frame = frame.json();
            if frame["type"] == "previous_messages" && frame["more"] == false {
                break;
            }
        }
    }
    assert!(largest > 6 * 32 * 1024, "{largest}");
}
