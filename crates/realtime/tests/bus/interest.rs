//! A node receives messages of the shards that it has connections for, and no others.

use std::time::Duration;

use chatsphere_core::{RoomId, Seq, Signal, SignalKind, Topic, UserId, UserRef, Username};
use chatsphere_realtime::BusMessage;
use tokio::time::sleep;

use crate::nats::{Nats, Stranger};
use crate::node::{NOW, Node, event_in, options, room};

/// A user in the shard of this number.
fn user(shard: u8) -> UserId {
    let mut id = *UserId::new(NOW).as_bytes();
    id[15] = shard;
    UserId::from_bytes(id)
}

fn typing(topic: Topic, room_id: RoomId) -> Signal {
    let user = UserRef { id: UserId::new(NOW), username: Username::from_stored("ada".to_owned()) };
    Signal { topic, user, from: None, after: Seq::new(1), kind: SignalKind::Typing { room_id, parent_id: None, on: true } }
}

/// Publishes repeatedly until the other node receives it.
async fn until_received(by: &mut Node, publish: impl Fn()) -> BusMessage {
    for _ in 0..3_000 {
        publish();
        sleep(Duration::from_millis(10)).await;
        if let Some(message) = by.try_receive() {
            while by.try_receive().is_some() {}
            return message;
        }
    }
    panic!("nothing was received");
}

#[tokio::test]
async fn a_node_hears_of_its_own_rooms_alone() {
    let Some(nats) = Nats::start("").await else { return };
    let a = Node::connected(options(&nats.url(""))).await;
    let mut b = Node::connected(options(&nats.url(""))).await;
    let (own, other) = (room(0), room(1));
    // One commit that affects many rooms.
    a.commit_events([event_in(other, "1"), event_in(own, "2"), event_in(other, "3"), event_in(own, "4")]);
    assert_eq!(b.receive().await, ["2", "4"]);
    a.commit_events([event_in(own, "5")]);
    assert_eq!(b.receive().await, ["5"]);
    // A client joins a room of another shard.
    b.hub.interest.add(Topic::Room(other));
    until_received(&mut b, || a.commit_events([event_in(other, "now")])).await;
    a.commit_events([event_in(other, "6"), event_in(own, "7")]);
    let mut received = [b.receive().await, b.receive().await];
    received.sort();
    assert_eq!(received, [["6"], ["7"]]);
}

#[tokio::test]
async fn signals_go_where_their_topic_is_wanted() {
    let Some(nats) = Nats::start("").await else { return };
    let mut stranger = Stranger::connect(&nats).await;
    let a = Node::connected(options(&nats.url(""))).await;
    let mut b = Node::connected(options(&nats.url(""))).await;
    let (own, other) = (room(0), room(1));
    a.signal(typing(Topic::Room(other), other));
    a.signal(typing(Topic::User(user(0)), own));
    let signal = typing(Topic::Room(own), own);
    a.signal(signal.clone());
    let BusMessage::Signals(signals) = b.receive_any().await else { panic!("no signals") };
    assert_eq!(signals, [signal]);
    // A room and a user with the same last byte are in different shards.
    b.hub.interest.add(Topic::User(user(1)));
    let signal = typing(Topic::User(user(1)), other);
    let BusMessage::Signals(signals) = until_received(&mut b, || a.signal(signal.clone())).await else { panic!("no signals") };
    assert_eq!(signals, [signal]);

    // A captured signal that was not delivered is not accepted later, and no event can take its place.
    let captured = loop {
        let (subject, payload) = stranger.capture().await;
        if subject == "chatsphere.v3.room.01" {
            break payload;
        }
    };
    b.clock.advance(Duration::from_secs(31));
    b.hub.interest.add(Topic::Room(other));
    until_received(&mut b, || a.commit_events([event_in(other, "now")])).await;
    stranger.publish("chatsphere.v3.room.01", &captured).await;
    a.commit_events([event_in(other, "next")]);
    assert_eq!(b.receive().await, ["next"]);
}
