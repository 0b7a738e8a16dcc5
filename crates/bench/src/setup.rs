//! Makes users and rooms, with patience for a server that asks for it.

use std::future::Future;
use std::time::Duration;

use chatsphere_client::bodies::{CreateRoom, CreateUser};
use chatsphere_client::{Client, Error, RoomId, UserId};
use tokio::time::sleep;

use crate::error::BenchError;

/// How often a call is made again before the run ends.
const MAX_ATTEMPTS: u32 = 30;
/// Where the server names no wait.
const WAIT: Duration = Duration::from_millis(500);

/// A user made for the run.
#[derive(Debug, Clone)]
pub(crate) struct BenchUser {
    pub(crate) id: UserId,
    pub(crate) token: String,
}

/// Tells the users and rooms of this run from those of others.
pub(crate) fn run_tag(command: &str) -> String {
    format!("{command}-{:08x}", rand::random::<u32>())
}

pub(crate) async fn create_user(client: &Client, username: String) -> Result<BenchUser, BenchError> {
    let body = CreateUser { username, role: None };
    let created = patiently("making a user", || client.create_user(&body)).await?;
    Ok(BenchUser { id: created.user.id, token: created.token })
}

pub(crate) async fn create_room(client: &Client, name: String, owner: UserId) -> Result<RoomId, BenchError> {
    let body = CreateRoom { name, user_id: Some(owner.to_string()) };
    Ok(patiently("making a room", || client.create_room(&body)).await?.id)
}

pub(crate) async fn add_member(client: &Client, room: RoomId, user: UserId) -> Result<(), BenchError> {
    patiently("adding a member", || client.add_member(room, user)).await
}

/// Makes a call, and makes it again after the wait that a rate limit or an outage asks for.
pub(crate) async fn patiently<T, F>(what: &'static str, mut call: impl FnMut() -> F) -> Result<T, BenchError>
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
                _ => return Err(BenchError::Call { what, source }),
            },
        }
    }
}
