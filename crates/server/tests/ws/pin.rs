//! Tests of pinned messages: the calls, and the events that members get.

use std::sync::Arc;

use chatsphere_core::RoomId;
use serde_json::{Value, json};

use crate::database::Database;
use crate::on_every_database;
use crate::server::{Server, Setup, with};

on_every_database!(
    members_get_pins_and_a_list_shows_them,
    a_replay_shows_a_pin,
    forbidden_pins_are_rejected,
    a_client_token_pins_for_a_user,
    a_full_room_takes_no_more_pins,
    deleting_a_message_unpins_it,
);

fn pin_path(room: RoomId, message: &Value) -> String {
    format!("/api/rooms/{room}/pins/{}", message["id"].as_str().unwrap())
}

async fn members_get_pins_and_a_list_shows_them(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let posted = server.say(room, &bob, "hello").await;
    let mut of_bob = server.joined(room, &bob).await;
    let pin = |method| server.call(method, &pin_path(room, &posted)).bearer(&ada.token);
    let answer = pin("PUT").send().await;
    assert_eq!(answer.header("room-seq"), Some("4"));
    let pinned = answer.ok(200);
    let event = of_bob.frame().await;
    let at = event["createdAt"].clone();
    assert_eq!(pinned, with(&posted, json!({ "changeSeq": 4, "pinnedAt": at, "pinnedBy": ada.id })));
    let by = json!({ "id": ada.id, "username": ada.username });
    let expected = json!({
        "type": "message_pinned", "roomId": room, "seq": 4, "messageId": posted["id"], "messageSeq": 3,
        "message": pinned, "by": by, "createdAt": at,
    });
    assert_eq!(event, expected);
    // Once more changes nothing.
    assert_eq!(pin("PUT").send().await.ok(200), pinned);
    let pins = async || server.get(&format!("/api/rooms/{room}/pins")).bearer(&bob.token).send().await;
    let list = pins().await;
    assert_eq!((list.header("room-seq"), list.links().is_empty()), (Some("4"), true));
    assert_eq!(list.ok(200), json!([pinned]));
    let unpinned = pin("DELETE").send().await.ok(200);
    assert_eq!(unpinned, with(&posted, json!({ "changeSeq": 5 })));
    let event = of_bob.frame().await;
    assert_eq!((&event["type"], &event["seq"], &event["message"]), (&json!("message_unpinned"), &json!(5), &unpinned));
    assert_eq!(pin("DELETE").send().await.ok(200), unpinned);
    of_bob.quiet().await;
    assert_eq!(pins().await.ok(200), json!([]));
}

async fn a_replay_shows_a_pin(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let posted = server.say(room, &ada, "hello").await;
    let pinned = server.call("PUT", &pin_path(room, &posted)).bearer(&ada.token).send().await.ok(200);
    let mut client = server.connect(&bob.token).await;
    client.send(json!({ "type": "join", "roomId": room, "since": 3 })).await;
    client.expect("join_confirmation").await;
    let page = client.expect("previous_messages").await;
    assert_eq!((&page["events"][0]["type"], &page["events"][0]["message"]), (&json!("message_pinned"), &pinned));
    let page = server.get(&format!("/api/rooms/{room}/events?after=2")).bearer(&bob.token).send().await.ok(200);
    assert_eq!((&page[0]["message"], &page[1]["message"]), (&pinned, &pinned));
}

async fn forbidden_pins_are_rejected(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let posted = server.say(room, &bob, "hello").await;
    let other = server.room("another", &ada).await;
    let no_writes = server.token(ada.id, json!({ "permissions": { "read": true, "delete": true } })).await;
    let nothing = json!({ "id": "none" });
    for (token, path, status, code) in [
        (&bob.token, pin_path(room, &posted), 403, "not_a_moderator"),
        (&eve.token, pin_path(room, &posted), 403, "not_a_member"),
        (&no_writes.token, pin_path(room, &posted), 403, "needs_write"),
        (&ada.token, pin_path(room, &nothing), 404, "message_not_found"),
        (&ada.token, pin_path(room, &json!({ "id": room })), 404, "message_not_found"),
        (&ada.token, pin_path(other, &posted), 404, "message_not_found"),
        (&eve.token, pin_path(room, &json!({ "id": room })), 403, "not_a_member"),
        (&ada.token, format!("{}?hard=true", pin_path(room, &posted)), 400, "invalid"),
    ] {
        for method in ["PUT", "DELETE"] {
            server.call(method, &path).bearer(token).send().await.refused(status, code);
        }
    }
    server.get(&format!("/api/rooms/{room}/pins")).bearer(&eve.token).send().await.refused(403, "not_a_member");
    for query in ["limit=3", "cursor=x", "before=3"] {
        let list = server.get(&format!("/api/rooms/{room}/pins?{query}")).bearer(&ada.token).send();
        list.await.refused(400, "invalid");
    }
    assert_eq!(server.get(&format!("/api/rooms/{room}/pins")).bearer(&ada.token).send().await.ok(200), json!([]));
}

async fn a_client_token_pins_for_a_user(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let posted = server.say(room, &bob, "hello").await;
    let pin_as = |user| server.call("PUT", &format!("{}?as={user}", pin_path(room, &posted)));
    pin_as(bob.id).client().send().await.refused(403, "not_a_moderator");
    pin_as(eve.id).client().send().await.refused(403, "not_a_member");
    pin_as(ada.id).bearer(&bob.token).send().await.refused(403, "not_yourself");
    assert_eq!(pin_as(ada.id).client().send().await.ok(200)["pinnedBy"], json!(ada.id));
    let pins = |user| server.get(&format!("/api/rooms/{room}/pins?as={user}")).client().send();
    assert_eq!(pins(bob.id).await.ok(200)[0]["id"], posted["id"]);
    pins(eve.id).await.refused(403, "not_a_member");
}

async fn a_full_room_takes_no_more_pins(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.pins_per_room = 2)).await;
    let (room, ada, _) = server.pair().await;
    let mut posted = Vec::new();
    for number in 0..3 {
        posted.push(server.say(room, &ada, &number.to_string()).await);
    }
    let pin = |message| server.call("PUT", &pin_path(room, message)).bearer(&ada.token).send();
    pin(&posted[0]).await.ok(200);
    pin(&posted[1]).await.ok(200);
    pin(&posted[2]).await.refused(409, "too_many_pins");
    pin(&posted[1]).await.ok(200);
}

async fn deleting_a_message_unpins_it(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let posted = server.say(room, &ada, "hello").await;
    let call = |method, path: String| server.call(method, &path).bearer(&ada.token).send();
    call("PUT", pin_path(room, &posted)).await.ok(200);
    let tombstone = call("DELETE", crate::server::message_path(room, &posted)).await.ok(200);
    assert_eq!((tombstone.get("pinnedAt"), tombstone.get("pinnedBy")), (None, None));
    assert_eq!(call("GET", format!("/api/rooms/{room}/pins")).await.ok(200), json!([]));
    call("PUT", pin_path(room, &posted)).await.refused(409, "message_deleted");
    assert_eq!(call("DELETE", pin_path(room, &posted)).await.ok(200), tombstone);
}
