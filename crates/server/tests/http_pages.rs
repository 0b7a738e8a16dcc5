//! Tests of pages of lists, and of the header `Link` that leads through them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{TestServer, World, start};

/// Follows a relation from page to page, and returns the pages' items.
async fn walk(server: &TestServer, token: &str, path: &str, relation: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let answer = server.get(&path).bearer(token).send().await;
        next = answer.links().remove(relation);
        let page = answer.ok(200).as_array().unwrap().clone();
        assert!(!page.is_empty() || next.is_none(), "an empty page that leads on");
        pages.push(page);
        assert!(pages.len() < 100, "a walk in a circle");
    }
    pages
}

fn ids(pages: &[Vec<Value>]) -> Vec<String> {
    pages.iter().flatten().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_list_has_pages_without_gap_or_duplicate() {
    let server = start().await;
    let world = World::new(&server).await;
    for number in 0..7 {
        let user = server.user(&format!("user {number}")).await;
        server.add(world.room, user.id).await;
        server.room(&format!("room {number}"), &world.owner).await;
        server.say(world.room, &world.member, &number.to_string()).await;
    }
    let members = format!("/api/rooms/{}/users", world.room);
    let messages = format!("/api/users/{}/messages", world.member.id);
    for path in ["/api/users", "/api/rooms", "/api/tokens", "/api/messages", &members, &messages] {
        let whole = walk(&server, &server.client_token, &format!("{path}?limit=200"), "next").await;
        assert_eq!(whole.len(), 1, "{path}");
        for limit in [1, 2, 3, whole[0].len(), whole[0].len() + 1] {
            let pages = walk(&server, &server.client_token, &format!("{path}?limit={limit}"), "next").await;
            assert_eq!(ids(&pages), ids(&whole), "{path} by {limit}");
            assert!(pages.iter().all(|page| page.len() <= limit), "{path} by {limit}");
        }
    }
    let newest_first = walk(&server, &server.client_token, "/api/messages?limit=200", "next").await;
    let seqs: Vec<u64> = newest_first[0].iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|newer, older| newer > older), "{seqs:?}");
}

#[tokio::test]
async fn a_page_has_fifty_items_by_default() {
    let server = start().await;
    let ada = server.user("ada").await;
    let room = server.room("lobby", &ada).await;
    for number in 0..60 {
        server.say(room, &ada, &number.to_string()).await;
    }
    for path in [format!("/api/rooms/{room}/messages"), format!("/api/rooms/{room}/events"), "/api/messages/user".to_owned()] {
        assert_eq!(server.get(&path).bearer(&ada.token).send().await.ok(200).as_array().unwrap().len(), 50, "{path}");
    }
}

#[tokio::test]
async fn history_has_pages_in_both_directions() {
    let server = start().await;
    let world = World::new(&server).await;
    for number in 0..10 {
        server.say(world.room, &world.member, &number.to_string()).await;
        if number % 3 == 0 {
            let user = server.user(&format!("user {number}")).await;
            server.add(world.room, user.id).await;
        }
    }
    let path = format!("/api/rooms/{}/messages", world.room);
    let token = &world.member.token;
    let contents = |pages: Vec<Vec<Value>>| {
        pages
            .into_iter()
            .map(|page| page.iter().map(|message| message["content"].as_str().unwrap()).collect::<String>())
            .collect()
    };
    let back: Vec<String> = contents(walk(&server, token, &format!("{path}?limit=4"), "prev").await);
    assert_eq!(back, ["6789", "2345", "01"]);
    let forth: Vec<String> = contents(walk(&server, token, &format!("{path}?limit=4&after=0"), "next").await);
    assert_eq!(forth, ["0123", "4567", "89"]);

    let newest = server.get(&format!("{path}?limit=4")).bearer(token).send().await;
    assert_eq!(newest.links().keys().collect::<Vec<_>>(), ["prev"]);
    let first = newest.json()[0]["seq"].as_u64().unwrap();
    assert_eq!(newest.links()["prev"], format!("{path}?limit=4&before={first}"));
    let middle = server.get(&newest.links()["prev"]).bearer(token).send().await;
    let last = middle.json()[3]["seq"].as_u64().unwrap();
    assert_eq!(middle.links()["next"], format!("{path}?limit=4&after={last}"));
    assert!(middle.links().contains_key("prev"));

    // Beyond either end the page is empty, and links back.
    let beyond = server.get(&format!("{path}?after=1000000")).bearer(token).send().await;
    assert_eq!((beyond.json(), beyond.links().contains_key("next")), (json!([]), false));
    let back = server.get(&beyond.links()["prev"]).bearer(token).send().await.ok(200);
    assert_eq!(back.as_array().unwrap().len(), 10);
    let before = server.get(&format!("{path}?before=0")).bearer(token).send().await;
    assert_eq!((before.json(), before.links().contains_key("prev")), (json!([]), false));
    let forth = server.get(&before.links()["next"]).bearer(token).send().await.ok(200);
    assert_eq!(forth.as_array().unwrap().len(), 10);
    let all = server.get(&format!("{path}?limit=200")).bearer(token).send().await;
    assert!(all.links().is_empty(), "{:?}", all.links());
}

#[tokio::test]
async fn a_page_around_a_message_leads_both_ways() {
    let server = start().await;
    let world = World::new(&server).await;
    let mut posted = Vec::new();
    for number in 0..10 {
        posted.push(server.say(world.room, &world.member, &number.to_string()).await);
    }
    let path = format!("/api/rooms/{}/messages", world.room);
    let token = &world.member.token;
    let around = |query: &str| server.get(&format!("{path}?{query}")).bearer(token).send();
    for place in [posted[4]["id"].as_str().unwrap().to_owned(), posted[4]["seq"].to_string()] {
        let answer = around(&format!("around={place}&limit=4")).await;
        assert_eq!(answer.header("room-seq"), Some(&*posted[9]["seq"].to_string()));
        let (before, after) = (&posted[2]["seq"], &posted[5]["seq"]);
        assert_eq!(answer.links()["prev"], format!("{path}?limit=4&before={before}"));
        assert_eq!(answer.links()["next"], format!("{path}?limit=4&after={after}"));
        let (prev, next) = (answer.links()["prev"].clone(), answer.links()["next"].clone());
        assert_eq!(answer.ok(200), json!(posted[2..6]));
        assert_eq!(server.get(&prev).bearer(token).send().await.ok(200), json!(posted[..2]));
        assert_eq!(server.get(&next).bearer(token).send().await.ok(200), json!(posted[6..]));
    }
    let newest = around("around=1000000&limit=3").await;
    assert_eq!(newest.links().keys().collect::<Vec<_>>(), ["prev"]);
    assert_eq!(newest.ok(200), json!(posted[7..]));
    let oldest = around("around=0&limit=3").await;
    assert_eq!(oldest.links().keys().collect::<Vec<_>>(), ["next"]);
    assert_eq!(oldest.ok(200), json!(posted[..3]));
    for id in ["x", "-1", &world.room.to_string()] {
        around(&format!("around={id}")).await.refused(404, "message_not_found");
    }
    for query in ["around=3&before=4", "around=3&after=4", "around=", "around=9007199254740992"] {
        around(query).await.refused(400, "invalid");
    }
    let stranger = server.get(&format!("{path}?around={}", posted[0]["id"].as_str().unwrap())).bearer(&world.stranger.token);
    stranger.send().await.refused(403, "not_a_member");
}

#[tokio::test]
async fn a_message_is_read_by_its_id() {
    let server = start().await;
    let world = World::new(&server).await;
    let posted = server.say(world.room, &world.member, "hello").await;
    let path = format!("/api/rooms/{}/messages", world.room);
    let read = |id: &str| server.get(&format!("{path}/{id}"));
    let id = posted["id"].as_str().unwrap();
    let answer = read(id).bearer(&world.owner.token).send().await;
    assert_eq!(answer.header("room-seq"), Some(&*posted["seq"].to_string()));
    assert_eq!(answer.ok(200), posted);
    for id in ["x", &world.room.to_string()] {
        read(id).bearer(&world.owner.token).send().await.refused(404, "message_not_found");
        read(id).bearer(&world.stranger.token).send().await.refused(403, "not_a_member");
    }
    // A CLIENT token sees what the user that it names sees.
    let reads_as = |user| read(&format!("{id}?as={user}"));
    assert_eq!(reads_as(world.member.id).client().send().await.ok(200), posted);
    reads_as(world.stranger.id).client().send().await.refused(403, "not_a_member");
    reads_as(world.owner.id).bearer(&world.member.token).send().await.refused(403, "not_yourself");
    read(&format!("{id}?mine=true")).client().send().await.refused(400, "invalid");
}

#[tokio::test]
async fn pages_of_events_have_no_gap() {
    let server = start().await;
    let world = World::new(&server).await;
    for number in 0..8 {
        server.say(world.room, &world.member, &number.to_string()).await;
    }
    let path = format!("/api/rooms/{}/events", world.room);
    for limit in [1, 2, 5, 11, 12] {
        let pages = walk(&server, &world.member.token, &format!("{path}?limit={limit}"), "next").await;
        let seqs: Vec<u64> = pages.iter().flatten().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=11).collect::<Vec<_>>(), "by {limit}");
    }
    let answer = server.get(&format!("{path}?after=9")).bearer(&world.member.token).send().await;
    assert!(answer.links().is_empty());
    assert_eq!(answer.ok(200).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_cursor_is_valid_only_for_its_own_list() {
    let server = start().await;
    for number in 0..3 {
        server.user(&format!("user {number}")).await;
    }
    let next = server.get("/api/users?limit=1").client().send().await.links().remove("next").unwrap();
    let cursor = next.split_once("cursor=").unwrap().1;
    for path in ["/api/rooms", "/api/tokens", "/api/messages"] {
        server.get(&format!("{path}?cursor={cursor}")).client().send().await.invalid("cursor");
    }
    // A cursor of another user is invalid, even for the same list.
    let boss = server.user_as("boss", "ADMIN").await;
    server.get(&format!("/api/users?cursor={cursor}")).bearer(&boss.token).send().await.invalid("cursor");
    server.get(&format!("/api/users?cursor={cursor}")).client().send().await.ok(200);
    for bad in ["", "x", "%00", "AAAAAAAAAAAAAAAA", &cursor[1..], &format!("{cursor}A"), &cursor.to_lowercase()] {
        server.get(&format!("/api/users?cursor={bad}")).client().send().await.invalid("cursor");
    }
}
