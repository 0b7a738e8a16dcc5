//! A disconnected bus, and the reported reasons.

use std::net::TcpListener;

use chatsphere_realtime::bus::DisconnectReason;

use crate::nats::Nats;
use crate::node::{Node, options};

#[tokio::test]
async fn a_server_that_is_not_there_yet_and_one_that_goes_and_comes_back() {
    let Some(mut nats) = Nats::start("").await else { return };
    nats.stop();
    let a = Node::start(options(&nats.url("")));
    a.is_disconnected(DisconnectReason::Refused).await;
    // None of this is kept for later.
    a.commit(&["nobody hears this"]);
    nats.restart("").await;
    a.is_connected().await;
    let mut b = Node::connected(options(&nats.url(""))).await;
    for n in 0..2 {
        a.commit(&["hello"]);
        assert_eq!(b.receive().await, ["hello"], "{n}");
        nats.stop();
        a.is_disconnected(DisconnectReason::Refused).await;
        b.is_disconnected(DisconnectReason::Refused).await;
        nats.restart("").await;
        a.is_connected().await;
        b.is_connected().await;
    }
}

#[tokio::test]
async fn a_host_without_an_address() {
    Node::start(options("nats://nobody.invalid:4222")).is_disconnected(DisconnectReason::Dns).await;
}

#[tokio::test]
async fn the_first_of_several_servers_that_works() {
    let Some(nats) = Nats::start("authorization { user: ada, password: secret }").await else { return };
    // Bound and freed: the port is closed.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{nowhere},{},nobody.invalid", nats.url("ada:secret@"));
    let a = Node::connected(options(&url)).await;
    let mut b = Node::connected(options(&format!("{},{nowhere}", nats.url("ada:secret@")))).await;
    a.commit(&["hello"]);
    assert_eq!(b.receive().await, ["hello"]);
}

#[tokio::test]
async fn a_password_that_is_changed_on_the_server_first() {
    let Some(mut nats) = Nats::start("authorization { user: ada, password: old }").await else { return };
    let node = Node::connected(options(&nats.url("ada:old@"))).await;
    nats.restart("authorization { user: ada, password: new }").await;
    node.is_disconnected(DisconnectReason::Unauthorized).await;
    nats.restart("authorization { user: ada, password: old }").await;
    node.is_connected().await;
}

/// The user may connect but not publish, or not subscribe: the bus stays disconnected.
#[tokio::test]
async fn a_user_who_may_not_do_all() {
    for permissions in [
        r#"publish: { deny: "chatsphere.>" }"#,
        r#"subscribe: { deny: "chatsphere.>" }"#,
        r#"publish: "other.>", subscribe: "other.>""#,
    ] {
        let users = format!("authorization {{ users = [ {{ user: ada, password: x, permissions: {{ {permissions} }} }} ] }}");
        let Some(nats) = Nats::start(&users).await else { return };
        Node::start(options(&nats.url("ada:x@"))).is_disconnected(DisconnectReason::Forbidden).await;
    }
    let may = r#"authorization { users = [
        { user: ada, password: x, permissions: { publish: "chatsphere.>", subscribe: "chatsphere.>" } }
    ] }"#;
    let Some(nats) = Nats::start(may).await else { return };
    Node::connected(options(&nats.url("ada:x@"))).await;
}

/// The limits are those that the server announces.
#[tokio::test]
async fn a_server_that_takes_only_short_messages() {
    let Some(nats) = Nats::start("max_payload: 4096").await else { return };
    let a = Node::connected(options(&nats.url(""))).await;
    let mut b = Node::connected(options(&nats.url(""))).await;
    let (long, longer) = ("x".repeat(3_000), "\u{1}".repeat(700));
    a.commit(&[&long, &long, &longer, &"x".repeat(4_000), "short"]);
    for expected in [vec![&*long], vec![&*long]] {
        assert_eq!(b.receive().await, expected);
    }
    // The third takes six bytes per character, so it is left out, as is the fourth.
    assert_eq!(b.receive().await, ["short"]);
}
