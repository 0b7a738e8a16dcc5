//! Creates users and rooms, and retries when the server asks for it.

use std::future::Future;
use std::time::Duration;

use chatsphere_client::bodies::{CreateRoom, CreateUser};
use chatsphere_client::{Client, Error, RoomId, UserId};
use tokio::time::sleep;

use crate::error::RunError;

/// Maximum number of attempts per call.
const MAX_ATTEMPTS: u32 = 30;
/// The delay if the server does not name one.
const WAIT: Duration = Duration::from_millis(500);

/// A user of the run.
#[derive(Debug, Clone)]
pub struct RunUser {
    /// Its id.
    pub id: UserId,
    /// Its USER token.
    pub token: String,
}

/// A tag that distinguishes the users and rooms of this run from others.
pub fn run_tag(command: &str) -> String {
    format!("{command}-{:08x}", rand::random::<u32>())
}

/// Creates a user.
///
/// # Errors
/// [`RunError::Call`].
pub async fn create_user(client: &Client, username: String) -> Result<RunUser, RunError> {
    let body = CreateUser { username, role: None };
    let created = patiently("making a user", || client.create_user(&body)).await?;
    Ok(RunUser { id: created.user.id, token: created.token })
}

/// Creates a room with this owner.
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

/// Makes a call, and retries after the delay that a rate limit or an outage asks for.
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
