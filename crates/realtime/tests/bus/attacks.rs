//! Attacks by a client that can publish on the bus, and nodes with different secrets.

use std::time::Duration;

use chatsphere_realtime::BusKeys;
use tokio::time::timeout;

use crate::nats::{Nats, Stranger};
use crate::node::{Node, event, options};

const SUBJECT: &str = "chatsphere.v3.room.00";

/// A received message shows that nothing before it was received.
async fn only_the_next_is_heard(from: &Node, by: &mut Node) {
    // A node drops what arrives while its bounded receive queue is full; after a flood that may be the first of these.
    let heard = loop {
        from.commit(&["true"]);
        if let Ok(heard) = timeout(Duration::from_secs(2), by.receive()).await {
            break heard;
        }
    };
    assert_eq!(heard, ["true"]);
}

#[tokio::test]
async fn what_was_not_signed_is_not_heard() {
    let Some(nats) = Nats::start("").await else { return };
    let mut stranger = Stranger::connect(&nats).await;
    let a = Node::connected(options(&nats.url(""))).await;
    let mut b = Node::connected(options(&nats.url(""))).await;
    a.commit(&["once"]);
    assert_eq!(b.receive().await, ["once"]);
    let captured = loop {
        let (subject, payload) = stranger.capture().await;
        if payload.windows(4).any(|bytes| bytes == b"once") {
            assert_eq!(subject, SUBJECT);
            break payload;
        }
    };
    let forged = serde_json::json!({ "events": [event("forged")] }).to_string();
    let told = serde_json::json!({ "node": uuid(1), "epoch": "epoch", "events": [event("forged")] }).to_string();
    let begins = captured.windows(2).position(|bytes| bytes == b"{\"").expect("a body");
    let other_body = [&captured[..begins], forged.as_bytes()].concat();
    let mut other_counter = captured.clone();
    other_counter[27] += 1;
    let mut other_node = captured.clone();
    other_node[5] ^= 1;
    let no_tags = [&captured[..36 + 1 + 5], &[0], forged.as_bytes()].concat();
    let many_tags = [&captured[..36 + 1 + 5], &[255], &[0; 9_000], forged.as_bytes()].concat();
    let attacks: [&[u8]; 10] = [
        forged.as_bytes(),
        told.as_bytes(),
        b"",
        b"CSB3",
        &other_body,
        &other_counter,
        &other_node,
        &no_tags,
        &many_tags,
        &captured,
    ];
    for attack in attacks {
        for subject in [SUBJECT, "chatsphere.v2.events", "chatsphere.v3.room.01", "chatsphere.v3.user.00"] {
            stranger.publish(subject, attack).await;
        }
    }
    for n in 0..1_000_u32 {
        stranger.publish(SUBJECT, &n.to_be_bytes().repeat(100)).await;
    }
    // All of it has been processed.
    let mut seen = 0;
    while seen < 1_000 {
        seen += usize::from(stranger.capture().await.1.len() == 400);
    }
    only_the_next_is_heard(&a, &mut b).await;
}

#[tokio::test]
async fn what_was_captured_is_heard_once() {
    let Some(nats) = Nats::start("").await else { return };
    let mut stranger = Stranger::connect(&nats).await;
    let a = Node::connected(options(&nats.url(""))).await;
    let mut b = Node::connected(options(&nats.url(""))).await;
    let mut captured = Vec::new();
    for n in 0..5 {
        a.commit(&[&format!("number {n}")]);
        assert_eq!(b.receive().await, [format!("number {n}")]);
    }
    while captured.len() < 5 {
        let (_, payload) = stranger.capture().await;
        if payload.windows(6).any(|bytes| bytes == b"number") {
            captured.push(payload);
        }
    }
    for payload in captured.iter().rev().chain(&captured) {
        stranger.publish(SUBJECT, payload).await;
    }
    only_the_next_is_heard(&a, &mut b).await;

    // The sender restarts and is trusted under its new name; its old messages are not.
    a.stop();
    let a = Node::connected(options(&nats.url(""))).await;
    stranger.publish(SUBJECT, &captured[0]).await;
    only_the_next_is_heard(&a, &mut b).await;

    // All nodes restart a while later and have no record of the captured messages.
    b.stop();
    let mut b = Node::start(options(&nats.url("")));
    b.clock.advance(Duration::from_secs(31));
    a.clock.advance(Duration::from_secs(31));
    b.is_connected().await;
    for payload in &captured {
        stranger.publish(SUBJECT, payload).await;
    }
    only_the_next_is_heard(&a, &mut b).await;
}

#[tokio::test]
async fn other_secrets_and_other_installations_are_not_heard() {
    let Some(nats) = Nats::start("").await else { return };
    let start = |users: &[&[u8]], epoch| Node::start_with(options(&nats.url("")), BusKeys::derive(users, &[b"client"]), epoch);
    let others = [start(&[b"other"], "epoch"), start(&[b"user"], "other")];
    let good = start(&[b"user"], "epoch");
    let mut node = start(&[b"user"], "epoch");
    for node in others.iter().chain([&good, &node]) {
        node.is_connected().await;
    }
    for other in &others {
        other.commit(&["not for you"]);
    }
    only_the_next_is_heard(&good, &mut node).await;
}

/// The rotation of docs/operations.md: at each step all nodes receive each other's messages.
#[tokio::test]
async fn nodes_hear_each_other_while_secrets_rotate() {
    let Some(nats) = Nats::start("").await else { return };
    let (old, new): (&[u8], &[u8]) = (b"old", b"new");
    let steps: [&[&[u8]]; 4] = [&[old], &[old, new], &[new, old], &[new]];
    for step in steps.windows(2) {
        let start = |users: &[&[u8]]| Node::start_with(options(&nats.url("")), BusKeys::derive(users, users), "epoch");
        let (mut before, mut after) = (start(step[0]), start(step[1]));
        before.is_connected().await;
        after.is_connected().await;
        only_the_next_is_heard(&before, &mut after).await;
        only_the_next_is_heard(&after, &mut before).await;
    }
}

fn uuid(n: u8) -> String {
    format!("00000000-0000-7000-8000-0000000000{n:02}")
}
