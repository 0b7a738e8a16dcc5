//! Makes users and rooms, with patience for a server that asks for it.

use std::future::Future;
use std::time::Duration;

use chatsphere_client::bodies::{CreateRoom, CreateUser};
use chatsphere_client::{Client, Error, RoomId, UserId};
use tokio::time::sleep;

use crate::error::VerifyError;

/// How often a call is made again before the run ends.
const MAX_ATTEMPTS: u32 = 30;
/// Where the server names no wait.
const WAIT: Duration = Duration::from_millis(500);

/// A user made for the run.
#[derive(Debug, Clone)]
pub(crate) struct RunUser {
    pub(crate) id: UserId,
    pub(crate) token: String,
}

pub(crate) async fn create_user(client: &Client, username: String) -> Result<RunUser, VerifyError> {
    let body = CreateUser { username, role: None };
    let created = patiently("making a user", || client.create_user(&body)).await?;
    Ok(RunUser { id: created.user.id, token: created.token })
}

pub(crate) async fn create_room(client: &Client, name: String, owner: UserId) -> Result<RoomId, VerifyError> {
    let body = CreateRoom { name, user_id: Some(owner.to_string()) };
    Ok(patiently("making a room", || client.create_room(&body)).await?.id)
}

/// Makes a call, and makes it again after the wait that a rate limit or an outage asks for.
pub(crate) async fn patiently<T, F>(what: &'static str, mut call: impl FnMut() -> F) -> Result<T, VerifyError>
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
                _ => return Err(VerifyError::Call { what, source }),
            },
        }
    }
}
