//! Checks that NATS accepts this node and delivers its messages.

use std::sync::Arc;

use chatsphere_core::SystemClock;
use chatsphere_realtime::{BusKeys, NatsLink};

use super::finding::Finding;
use crate::config::Settings;
use crate::start_error::StartError;

const CHECK: &str = "bus";

pub(super) async fn check(settings: &Settings) -> Option<Finding> {
    // Only this process reads its echo, so any keys will do.
    let link = match NatsLink::new(settings.nats()?, BusKeys::derive(&[b"doctor"], &[b"doctor"]), Arc::new(SystemClock)) {
        Ok(link) => link,
        Err(error) => return Some(Finding::from_error(CHECK, &StartError::from(error).to_string())),
    };
    Some(match link.check().await {
        Ok(server) => Finding::ok(CHECK, format!("the NATS server at {server} carries messages")),
        Err((reason, description)) => Finding::wrong(CHECK, format!("NATS is away ({reason}): {description}"), reason.to_do()),
    })
}
