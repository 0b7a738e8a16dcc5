//! The page at `/demo`, with which a new server can be tried from a browser on the same machine.

mod assets;
mod host;
mod invite;
mod invites;
mod local;
mod session;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::routing::{get, post};
use chatsphere_core::{Chat, UserId, UserRef};

pub(crate) use local::is_local;

pub use invites::DemoInvites;

use self::host::Host;
use super::state::HttpState;
use crate::data_dir::DataDir;

/// What the demo page needs.
pub struct Demo {
    /// The invitations that are out.
    pub invites: DemoInvites,
    /// By whose rights users and rooms are made.
    pub operator: UserRef,
    /// Whom invitations have let in since the server started.
    guests: std::sync::Mutex<HashSet<UserId>>,
    /// Held while a guest is let in, so that two that come first do not make two lobbies.
    door: tokio::sync::Mutex<Host>,
}

impl Demo {
    /// Without any invitation yet; its rooms end with this run of the server.
    pub fn new(chat: &Chat, operator: UserRef) -> Self {
        Self { invites: DemoInvites::new(chat.clock.clone()), operator, guests: Default::default(), door: Default::default() }
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
