//! The page at `/demo`, with which a new server can be tried from a browser on the same machine.

mod assets;
mod host;
mod invite;
mod invites;
mod local;
mod session;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::routing::{get, post};
use chatsphere_core::rate::Rate;
use chatsphere_core::{AppContext, Monotonic, UserId, UserRef};
use chatsphere_net::listener::Peer;

pub use invites::DemoInvites;

use self::host::Host;
use super::failure::Failure;
use super::state::HttpState;
use crate::data_dir::DataDir;

/// Calls a second by which one address lets guests in or asks for invitations, sustained.
pub(crate) const DEMO_PER_SECOND: u32 = 1;
/// Such calls at once after a rest.
pub(crate) const DEMO_BURST: u32 = 30;

/// What the demo page needs.
pub struct Demo {
    /// The invitations that are out.
    pub invites: DemoInvites,
    /// By whose rights users and rooms are made.
    pub operator: UserRef,
    /// How often an address may let guests in, or ask for invitations.
    rate: Rate<IpAddr>,
    /// Whom invitations have let in since the server started.
    guests: std::sync::Mutex<HashSet<UserId>>,
    /// Held while a guest is let in, so that two that come first do not make two lobbies.
    door: tokio::sync::Mutex<Host>,
}

impl Demo {
    /// Without any invitation yet; its rooms end with this run of the server.
    pub fn new(chat: &AppContext, operator: UserRef) -> Self {
        Self {
            invites: DemoInvites::new(chat.clock.clone()),
            operator,
            rate: Rate::new(DEMO_PER_SECOND, DEMO_BURST),
            guests: Default::default(),
            door: Default::default(),
        }
    }

    /// Counts a call against the address that it comes from.
    fn count(&self, peer: Peer, now: Monotonic) -> Result<(), Failure> {
        // Whoever has an IPv6 address mostly has 2^64 of them.
        let address = match peer.addr.ip() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        };
        self.rate.take(address, now).map_err(Failure::demo_limited)
    }

    /// The same, but its rooms are found again by the next run on this directory.
    #[must_use]
    pub fn remembering(self, directory: DataDir) -> Self {
        Self { door: tokio::sync::Mutex::new(Host::remembered(directory)), ..self }
    }

    fn guests(&self) -> std::sync::MutexGuard<'_, HashSet<UserId>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn routes() -> Router<Arc<HttpState>> {
    Router::new()
        .route("/demo", get(assets::page))
        .route("/demo/", get(assets::page))
        .route("/demo/{*file}", get(assets::file))
        .route("/demo/session", post(session::open))
        .route("/demo/invite", post(invite::make))
}
