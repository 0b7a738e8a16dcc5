//! Makes users and rooms, with patience for a server that asks for it.

use std::future::Future;
use std::time::Duration;

use chatsphere_client::bodies::{CreateRoom, CreateUser};
use chatsphere_client::{Client, Error, RoomId, UserId};
use tokio::time::sleep;

use crate::error::RunError;

/// How often a call is made again before the run ends.
const MAX_ATTEMPTS: u32 = 30;
/// Where the server names no wait.
const WAIT: Duration = Duration::from_millis(500);

/// A user made for the run.
#[derive(Debug, Clone)]
pub struct RunUser {
    /// Its id.
    pub id: UserId,
    /// Its USER token.
    pub token: String,
}

/// Tells the users and rooms of this run from those of others.
pub fn run_tag(command: &str) -> String {
    format!("{command}-{:08x}", rand::random::<u32>())
}

/// Makes a user.
///
/// # Errors
/// [`RunError::Call`].
pub async fn create_user(client: &Client, username: String) -> Result<RunUser, RunError> {
    let body = CreateUser { username, role: None };
    let created = patiently("making a user", || client.create_user(&body)).await?;
    Ok(RunUser { id: created.user.id, token: created.token })
}

/// Makes a room of this owner.
///
/// # Errors
/// [`RunError::Call`].
pub async fn create_room(client: &Client, name: String, owner: UserId) -> Result<RoomId, RunError> {
    let body = CreateRoom { name, user_id: Some(owner.to_string()) };
    Ok(patiently("making a room", || client.create_room(&body)).await?.id)
}

/// Adds a user to a room.
///
/// # Errors
/// [`RunError::Call`].
pub async fn add_member(client: &Client, room: RoomId, user: UserId) -> Result<(), RunError> {
    patiently("adding a member", || client.add_member(room, user)).await
}

/// Makes a call, and makes it again after the wait that a rate limit or an outage asks for.
pub async fn patiently<T, F>(what: &'static str, mut call: impl FnMut() -> F) -> Result<T, RunError>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(source) => match source.refusal() {
                Some(refusal) if matches!(refusal.status, 429 | 503) && attempt < MAX_ATTEMPTS => {
                    sleep(refusal.retry_after.unwrap_or(WAIT)).await;
                    attempt += 1;
                }
                _ => return Err(RunError::Call { what, source }),
            },
        }
    }
}
