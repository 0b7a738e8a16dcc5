//! The examination before HTTP shares HTTP's timeouts and does not extend them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::request::Parts;
use chatsphere_net::listener::{ListenerOptions, PreUpgrade, PreUpgradeHandler, TakeOver};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use crate::support::{app, patient, read_until, start, time_to_close};
use crate::upgrade::{UPGRADE, upgrading};

#[tokio::test]
async fn a_handshake_that_begins_late_has_no_more_time_than_one_that_does_not() {
    let header_timeout = Duration::from_secs(3);
    let server = start(app(), ListenerOptions { header_timeout, ..patient() }).await;
    let began = Instant::now();
    let mut tcp = server.connect().await;
    sleep(header_timeout * 3 / 4).await;
    tcp.write_all(&UPGRADE[..UPGRADE.len() - 2]).await.unwrap();
    time_to_close(&mut tcp).await;
    let took = began.elapsed();
    // If the timeout restarted at the first byte, it would take 5.25 s.
    assert!(took >= header_timeout && took < header_timeout * 5 / 3, "{took:?}");
}

struct NeverDone;

#[async_trait]
impl PreUpgrade for NeverDone {
    async fn inspect(&self, _: &Parts) -> Option<TakeOver> {
        pending().await
    }
}

#[tokio::test]
async fn a_look_that_does_not_end_leaves_the_handshake_to_http() {
    let (app, mut upgraded) = upgrading();
    let server = start(app, ListenerOptions { pre_upgrade: PreUpgradeHandler::new(Arc::new(NeverDone)), ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(UPGRADE).await.unwrap();
    let head = read_until(&mut tcp, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(upgraded.recv().await.unwrap().slot.is_some());
}
