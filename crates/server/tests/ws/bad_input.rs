//! Tests that invalid frames get an `error`, and that the connection stays open.

use std::sync::Arc;

use chatsphere_protocol::frames::ClientFrame;
use serde_json::{Value, json};

use crate::client::Client;
use crate::database::Database;
use crate::on_every_database;
use crate::server::Server;

on_every_database!(
    every_mistake_has_its_answer,
    an_answer_repeats_what_it_answers,
    the_field_that_is_wrong_is_named,
    extra_fields_are_ignored,
    no_frame_is_swallowed,
);

const UNKNOWN: &str = "0198c0de-7c1a-7000-8000-0123456789ab";

/// Returns texts and the codes of their errors. `ROOM`, `FOREIGN`, `ME` and `OTHER` stand for ids.
fn mistakes() -> Vec<(String, &'static str)> {
    let mut all: Vec<(String, &'static str)> = Vec::new();
    let mut say = |text: &str, code| all.push((text.to_owned(), code));
    for text in [
        "",
        " ",
        "null",
        "true",
        "7",
        "\"ping\"",
        "[]",
        "{}",
        "[{\"type\":\"ping\"}]",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}}",
        "{\"type\":\"ping\"}{\"type\":\"ping\"}",
        "{'type':'ping'}",
        "{\"type\":ping}",
        "{type:\"ping\"}",
        "{\"type\":\"ping\",}",
        "{\"type\":null}",
        "{\"type\":5}",
        "{\"type\":[\"ping\"]}",
        "{\"type\":{}}",
        "{\"Type\":\"ping\"}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"ping\",\"ref\":5}",
        "{\"type\":\"ping\",\"ref\":{}}",
        "{\"type\":\"pi\nng\"}",
        "[\"ping\"]",
        "\0",
        "{\"type\":\"ping\"}\0",
    ] {
        say(text, "malformed");
    }
    // Half of a surrogate pair, as `slice` leaves it in JavaScript, is JSON but not valid Unicode.
    for text in [
        r#"{"type":"ping","ref":"\ud800"}"#,
        r#"{"type":"\ud800"}"#,
        r#"{"type":"message","roomId":"ROOM","content":"Good morning \ud83d","clientMessageId":"c"}"#,
        r#"{"type":"message","roomId":"ROOM","content":"\ude00","\ud83d":1}"#,
    ] {
        say(text, "invalid");
    }
    for kind in ["", "PING", "ping ", "hello", "auth_ok", "join_confirmation", "ack", "new_message", "\\u0000", "__proto__"] {
        say(&format!("{{\"type\":\"{kind}\"}}"), "unknown_type");
    }
    // Missing fields.
    for text in [
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":null}"#,
        r#"{"type":"join"}"#,
        r#"{"type":"join","roomId":null}"#,
        r#"{"type":"join","room_id":"ROOM"}"#,
        r#"{"type":"leave"}"#,
        r#"{"type":"message"}"#,
        r#"{"type":"message","roomId":"ROOM"}"#,
        r#"{"type":"message","roomId":"ROOM","content":null}"#,
        r#"{"type":"message","content":"x"}"#,
    ] {
        say(text, "invalid");
    }
    // Every field of every type, with a value of each wrong kind.
    let kinds = [
        (r#""type":"auth""#, &["token"][..]),
        (r#""type":"join","roomId":"ROOM""#, &["since", "epoch"]),
        (r#""type":"join""#, &["roomId"]),
        (r#""type":"leave""#, &["roomId"]),
        (r#""type":"message","roomId":"ROOM","content":"x""#, &["clientMessageId", "userId", "ref"]),
        (r#""type":"message","roomId":"ROOM""#, &["content"]),
        (r#""type":"message","content":"x""#, &["roomId"]),
    ];
    for (begin, fields) in kinds {
        for field in fields {
            for value in ["true", "{}", "[]", "[\"ROOM\"]", "{\"$ne\":null}", "-1", "1.5", "\"\\x\""] {
                say(&format!("{{{begin},\"{field}\":{value}}}"), "malformed");
            }
            for value in ["\"\\udc00\"", "\"\\ud800\\u0041\""] {
                let code = if *field == "since" { "malformed" } else { "invalid" };
                say(&format!("{{{begin},\"{field}\":{value}}}"), code);
            }
            if *field != "since" {
                say(&format!("{{{begin},\"{field}\":7}}"), "malformed");
            }
        }
    }
    for since in [
        "-1",
        "1.5",
        "1e400",
        "-1e400",
        "1e-3",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "\"5\"",
        "NaN",
        "0x10",
        "01",
        "-0.1",
    ] {
        say(&format!(r#"{{"type":"join","roomId":"ROOM","since":{since}}}"#), "malformed");
    }
    // Invalid ids.
    for id in [
        "",
        "x",
        UNKNOWN,
        "FOREIGN",
        "ME",
        "ROOM ",
        "ROOM\\u0000",
        "../../etc/passwd",
        "' OR 1=1 --",
        "00000000-0000-0000-0000-000000000000",
    ] {
        say(&format!(r#"{{"type":"join","roomId":"{id}"}}"#), "not_a_member");
        say(&format!(r#"{{"type":"join","roomId":"{id}","since":0}}"#), "not_a_member");
        say(&format!(r#"{{"type":"message","roomId":"{id}","content":"x"}}"#), "not_a_member");
    }
    for id in ["", "x", "ROOM ", "ROOM\\u0000"] {
        say(&format!(r#"{{"type":"leave","roomId":"{id}"}}"#), "not_a_member");
    }
    for (id, code) in [("OTHER", "not_yourself"), (UNKNOWN, "not_yourself"), ("x", "user_not_found"), ("", "user_not_found")] {
        say(&format!(r#"{{"type":"message","roomId":"ROOM","content":"x","userId":"{id}"}}"#), code);
    }
    // Invalid texts.
    let (long, wide) = ("x".repeat(65), "é".repeat(33));
    for text in ["", "\\u0000", "a\\nb", "\\u0085", &long, &wide] {
        say(&format!(r#"{{"type":"message","roomId":"ROOM","content":"x","clientMessageId":"{text}"}}"#), "invalid");
        for frame in [
            r#""type":"ping""#,
            r#""type":"leave","roomId":"ROOM""#,
            r#""type":"join","roomId":"ROOM""#,
            r#""type":"auth","token":"x""#,
        ] {
            say(&format!("{{{frame},\"ref\":\"{text}\"}}"), "invalid");
        }
    }
    for content in ["", "\\u0000", "a\\u0000b", &"x".repeat(32 * 1024 + 1)] {
        say(&format!(r#"{{"type":"message","roomId":"ROOM","content":"{content}"}}"#), "invalid");
    }
    for token in ["", "x", "a.b.c", "\\u0000", &"x".repeat(60_000)] {
        say(&format!(r#"{{"type":"auth","token":"{token}"}}"#), "token_invalid");
    }
    // Deep nesting.
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}1{}", open.repeat(9_000), close.repeat(9_000));
        say(&nested, "malformed");
        say(&format!(r#"{{"type":{nested}}}"#), "malformed");
        say(&format!(r#"{{"type":"join","roomId":"ROOM","since":{nested}}}"#), "malformed");
        say(&open.repeat(9_000), "malformed");
    }
    all
}

async fn every_mistake_has_its_answer(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let foreign = server.room("foreign", &bob).await;
    let mut witness = server.connect(&bob.token).await;
    witness.join(room, json!({})).await;
    let mut client = server.connect(&ada.token).await;
    let mistakes = mistakes();
    println!("{} mistakes", mistakes.len());
    for (n, (text, code)) in mistakes.into_iter().enumerate() {
        let text = text.replace("ROOM", &room.to_string()).replace("FOREIGN", &foreign.to_string());
        let text = text.replace("ME", &ada.id.to_string()).replace("OTHER", &bob.id.to_string());
        let shown: String = text.chars().take(200).collect();
        client.send_text(&text).await;
        let error = client.frame().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{shown}: {error}");
        assert_eq!(error["retryable"], false, "{shown}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{shown}: {error}");
        assert!(error.to_string().len() < 1_000, "{shown}: what is too long is not repeated");
        if n % 20 == 0 {
            usable(&mut client).await;
            usable(&mut witness).await;
        }
    }
    usable(&mut client).await;
    usable(&mut witness).await;
    assert_eq!(server.events(room).await.len(), 2, "no mistake was stored");
    client.post(room, "well").await;
    witness.expect("new_message").await;
}

async fn usable(client: &mut Client) {
    client.quiet().await;
}

async fn an_answer_repeats_what_it_answers(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    for (frame, room_id, message_id, reference) in [
        (json!({ "type": "message", "roomId": room, "content": "", "clientMessageId": "c", "ref": "r" }), true, true, true),
        (json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c", "ref": "r\n" }), true, true, false),
        (json!({ "type": "message", "roomId": room, "clientMessageId": "c", "ref": "r" }), true, true, true),
        (json!({ "type": "fly", "roomId": room, "clientMessageId": "c", "ref": "r" }), true, true, true),
        (json!({ "type": "join", "ref": "r" }), false, false, true),
        (json!({ "type": "message", "roomId": room, "content": 7, "clientMessageId": "c", "ref": "r" }), true, true, true),
        (json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c", "ref": 7 }), true, true, false),
        (json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c".repeat(65) }), true, true, false),
        (json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c".repeat(257) }), true, false, false),
        (json!({ "type": "join", "roomId": "x".repeat(65), "ref": "r" }), false, false, true),
        (json!({ "type": "auth", "token": "x", "ref": "r" }), false, false, true),
    ] {
        client.send_text(&frame.to_string()).await;
        let error = client.expect("error").await;
        let repeated = |key: &str, wanted: bool| {
            assert_eq!(error.get(key), wanted.then(|| &frame[key]), "{key}: {frame} {error}");
        };
        repeated("roomId", room_id);
        repeated("clientMessageId", message_id);
        repeated("ref", reference);
    }
    for frame in ["ping", "leave", "join", "auth"] {
        let reference = "r".repeat(64);
        client.send(json!({ "type": frame, "roomId": room, "token": ada.token, "ref": reference })).await;
        assert_eq!(client.frame().await["ref"], reference, "{frame}");
        if frame == "join" {
            assert_eq!(client.frame().await["ref"], reference);
        }
    }
}

async fn the_field_that_is_wrong_is_named(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    let whole = |change: (&str, &str)| {
        let more = format!(r#""clientMessageId":"c","userId":"{}","since":41.0,"ref":"r""#, ada.id);
        let frame = format!(r#"{{"type":"message","roomId":"{room}","content":"x",{more}}}"#);
        assert!(frame.contains(change.0), "{}", change.0);
        frame.replace(change.0, change.1)
    };
    let half = r#""half \ud83d""#;
    for (text, field, code) in [
        (whole((r#""x""#, half)), "content", "invalid"),
        (whole((r#""x""#, r#""""#)), "content", "invalid"),
        (whole((r#""x""#, r#""a\u0000b""#)), "content", "invalid"),
        (whole((r#""x""#, "41.5")), "content", "malformed"),
        (whole((r#""content":"x","#, "")), "content", "invalid"),
        (whole((r#""content":"x","#, r#""content":"x","content":"y","#)), "content", "malformed"),
        (whole((r#""message""#, r#""fly""#)), "type", "unknown_type"),
        (whole((r#""message""#, half)), "type", "invalid"),
        (whole((r#""message""#, "null")), "type", "malformed"),
        (whole(("41.0", "41.5")), "since", "malformed"),
        (whole(("41.0", "-1")), "since", "malformed"),
        (whole(("41.0", "1e400")), "since", "malformed"),
        (whole(("41.0", &format!("{}1{}", "[".repeat(9_000), "]".repeat(9_000)))), "since", "malformed"),
        (whole((&ada.id.to_string(), "no-uuid")), "userId", "user_not_found"),
        (whole((&ada.id.to_string(), &bob.id.to_string())), "userId", "not_yourself"),
        (whole((&room.to_string(), "no-uuid")), "roomId", "not_a_member"),
        (whole((&room.to_string(), "\\u0000")), "roomId", "not_a_member"),
        (whole((r#""c""#, half)), "clientMessageId", "invalid"),
        (whole((r#""c""#, r#""\u0000""#)), "clientMessageId", "invalid"),
        (whole((r#""r""#, half)), "ref", "invalid"),
        (whole((r#""r""#, "[]")), "ref", "malformed"),
    ] {
        client.send_text(&text).await;
        let error = client.expect("error").await;
        assert_eq!(
            (&error["field"], &error["code"], &error["retryable"]),
            (&json!(field), &json!(code), &json!(false)),
            "{text}"
        );
        for (key, value) in [("roomId", json!(room)), ("clientMessageId", json!("c")), ("ref", json!("r"))] {
            assert!(error.get(key) == Some(&value) || field == key, "{key}: {text}: {error}");
        }
    }
    // A name that is not valid Unicode is unknown; a whole number may be written as a fraction.
    client.send_text(&whole((r#""content""#, r#""\ud83d":"\ude00","content""#))).await;
    assert_eq!(client.expect("ack").await["clientMessageId"], "c");
    for since in ["1.0", "0.1e1", "10e-1"] {
        client.send_text(&format!(r#"{{"type":"join","roomId":"{room}","since":{since}}}"#)).await;
        assert_eq!(client.expect("join_confirmation").await["recovered"], true, "{since}");
        assert_eq!(client.expect("previous_messages").await["fromSeq"], 2, "{since}");
    }
}

async fn extra_fields_are_ignored(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    let deep: Value = (0..100).fold(json!(1), |inner, _| json!([inner, { "a": inner.is_null() }]));
    let more =
        json!({ "later": deep, "since": null, "token": "x", "epoch": "e", "userId": null, "": "", "__proto__": { "a": 1 } });
    for mut frame in [json!({ "type": "ping" }), json!({ "type": "leave" }), json!({ "type": "message", "content": "x" })] {
        frame["roomId"] = json!(room);
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_ne!(client.ask(frame.clone()).await["type"], "error", "{frame}");
    }
}

/// A frame with every field is executed and answered, whatever its `type`.
async fn no_frame_is_swallowed(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let posted = server.say(room, &ada, "before").await;
    let mut client = server.connect(&ada.token).await;
    // Signals are answered only by errors; `typing.rs` and `signal.rs` test what others receive.
    for kind in ClientFrame::TYPES.iter().filter(|kind| !matches!(**kind, "typing" | "signal")) {
        let message = &posted["id"];
        let frame = json!({ "type": kind, "roomId": room, "token": ada.token, "content": "hello", "messageId": message });
        let answer = client.ask(frame).await;
        assert_ne!(answer["type"], "error", "{kind}: {answer}");
    }
}
