//! The page at `/demo`, with which a new server can be tried from a browser on the same machine.

mod assets;
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

use super::state::HttpState;

/// What the demo page needs.
pub struct Demo {
    /// The invitations that are out.
    pub invites: DemoInvites,
    /// In whose name users are made and the room `lobby` is kept.
    pub operator: UserRef,
    /// Whom invitations have let in since the server started.
    guests: std::sync::Mutex<HashSet<UserId>>,
    /// Held while a guest is let in, so that two that come first do not make two lobbies.
    door: tokio::sync::Mutex<()>,
}

impl Demo {
    /// Without any invitation yet.
    pub fn new(chat: &Chat, operator: UserRef) -> Self {
        Self { invites: DemoInvites::new(chat.clock.clone()), operator, guests: Default::default(), door: Default::default() }
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
