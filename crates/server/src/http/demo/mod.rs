//! The page at `/demo`, for trying a new server from a browser on the same machine.

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

/// Calls a second, sustained, by which one address may admit guests or request invitations.
pub(crate) const DEMO_PER_SECOND: u32 = 1;
/// Such calls in a burst.
pub(crate) const DEMO_BURST: u32 = 30;

/// The state of the demo page.
pub struct Demo {
    /// The valid invitations.
    pub invites: DemoInvites,
    /// The user whose rights create users and rooms.
    pub operator: UserRef,
    /// The rate limit per address.
    rate: Rate<IpAddr>,
    /// Guests admitted since the server started.
    guests: std::sync::Mutex<HashSet<UserId>>,
    /// Held while a guest is admitted, so that two concurrent first guests do not create two lobbies.
    host: tokio::sync::Mutex<Host>,
}

impl Demo {
    /// A demo whose rooms are used for this run of the server only.
    pub fn new(chat: &AppContext, operator: UserRef) -> Self {
        Self {
            invites: DemoInvites::new(chat.clock.clone()),
            operator,
            rate: Rate::new(DEMO_PER_SECOND, DEMO_BURST),
            guests: Default::default(),
            host: Default::default(),
        }
    }

    /// Counts a call against the rate of its address.
    fn count(&self, peer: Peer, now: Monotonic) -> Result<(), Failure> {
        // A client with IPv6 usually has 2^64 addresses.
        let address = match peer.addr.ip() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        };
        self.rate.take(address, now).map_err(Failure::demo_limited)
    }

    /// Keeps the host in `directory`, so that the next run finds the same rooms.
    #[must_use]
    pub fn with_directory(self, directory: DataDir) -> Self {
        Self { host: tokio::sync::Mutex::new(Host::stored_in(directory)), ..self }
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
