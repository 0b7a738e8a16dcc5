//! Tests of joining and leaving rooms.

use std::sync::Arc;

use serde_json::json;

use crate::client::{Client, live_seqs};
use crate::database::Database;
use crate::on_every_database;
use crate::server::{Server, Setup};

on_every_database!(
    many_rooms_on_one_connection,
    leaving_ends_the_subscription_and_not_the_membership,
    the_rooms_of_a_connection_are_limited,
    at_the_root_one_room_at_a_time,
    a_refused_join_at_the_root_leaves_nothing,
);

async fn many_rooms_on_one_connection(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let mut client = server.connect(&ada.token).await;
    let mut rooms = Vec::new();
    for n in 0..20 {
        let room = server.room(&format!("room {n}"), &ada).await;
        client.join(room, json!({})).await;
        rooms.push(room);
    }
    for room in &rooms {
        for _ in 0..5 {
            client.post(room, "x").await;
        }
    }
    let mut frames = Vec::new();
    while frames.len() < 100 {
        frames.push(client.expect("new_message").await);
    }
    for room in &rooms {
        assert_eq!(live_seqs(&frames, room), [2, 3, 4, 5, 6]);
    }
}

async fn leaving_ends_the_subscription_and_not_the_membership(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut client, mut witness) = (server.connect(&ada.token).await, server.connect(&bob.token).await);
    witness.join(room, json!({})).await;
    client.join(room, json!({})).await;
    let answer = client.ask(json!({ "type": "leave", "roomId": room })).await;
    assert_eq!(answer, json!({ "type": "leave_confirmation", "roomId": room, "ref": answer["ref"] }));
    client.post(room, "still a member").await;
    witness.expect("new_message").await;
    server.say(room, &bob, "unheard").await;
    witness.expect("new_message").await;
    client.quiet().await;
    let answer = client.ask(json!({ "type": "leave", "roomId": room })).await;
    assert_eq!(answer["type"], "leave_confirmation", "who has left already has left");
    assert_eq!(client.join(room, json!({ "since": 2 })).await.seqs(), [3, 4]);
    assert_eq!(client.ask(json!({ "type": "leave", "roomId": "x" })).await["code"], "not_a_member");
}

async fn the_rooms_of_a_connection_are_limited(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.rooms_per_connection = 2)).await;
    let ada = server.user("ada").await;
    let (one, two) = (server.room("one", &ada).await, server.room("two", &ada).await);
    let three = server.room("three", &ada).await;
    let mut client = server.connect(&ada.token).await;
    client.join(one, json!({})).await;
    client.join(two, json!({})).await;
    client.join(one, json!({})).await;
    let answer = client.ask(json!({ "type": "join", "roomId": three })).await;
    assert_eq!(
        (&answer["code"], &answer["roomId"], &answer["retryable"]),
        (&json!("too_many_rooms"), &json!(three), &json!(false))
    );
    client.ask(json!({ "type": "leave", "roomId": one })).await;
    client.join(three, json!({})).await;
}

async fn at_the_root_one_room_at_a_time(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.rooms_per_connection = 1)).await;
    let (one, ada, bob) = server.pair().await;
    let two = server.room("two", &ada).await;
    let mut client = Client::connect_at(server.addr, "/", &ada.token).await;
    let mut witness = server.connect(&bob.token).await;
    witness.join(one, json!({})).await;
    client.join(one, json!({})).await;
    client.join(one, json!({})).await;
    client.join(two, json!({})).await;
    server.say(one, &bob, "unheard").await;
    witness.expect("new_message").await;
    server.say(two, &ada, "heard").await;
    assert_eq!(client.expect("new_message").await["message"]["content"], "heard");
    client.join(one, json!({})).await;
    server.say(two, &ada, "unheard").await;
    server.say(one, &bob, "heard").await;
    assert_eq!(client.expect("new_message").await["message"]["content"], "heard");
    client.quiet().await;
}

async fn a_refused_join_at_the_root_leaves_nothing(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let foreign = server.room("foreign", &bob).await;
    let mut client = Client::connect_at(server.addr, "/", &ada.token).await;
    client.join(room, json!({})).await;
    assert_eq!(client.ask(json!({ "type": "join", "roomId": foreign })).await["code"], "not_a_member");
    server.say(room, &bob, "heard").await;
    client.expect("new_message").await;
    let mut admin = Client::connect_at(server.addr, "/", &server.client_token).await;
    admin.join(room, json!({})).await;
    let unknown = json!({ "type": "join", "roomId": "0198c0de-7c1a-7000-8000-0123456789ab" });
    assert_eq!(admin.ask(unknown).await["code"], "room_not_found");
    server.say(room, &bob, "heard").await;
    admin.expect("new_message").await;
}
