use std::path::Path;

use chatsphere_client::Client;
use chatsphere_client::bodies::MintUserToken;
use serde::Deserialize;
use serde_json::Value;

use crate::address::Address;
use crate::error::RunError;
use crate::fill::fill;
use crate::parallel::in_parallel;
use crate::setup::{self, patiently};

/// Numbers of messages in the created rooms.
const SIZES: [usize; 3] = [1_000, 100_000, 10_000_000];
/// Rooms created concurrently.
const AT_ONCE: usize = 64;

/// A room to measure.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Room {
    #[serde(rename = "roomId")]
    pub(super) id: String,
    pub(super) messages: usize,
}

/// The rooms to measure, smallest first, and the token of a member of all of them.
pub(super) struct Prepared {
    pub(super) token: String,
    pub(super) rooms: Vec<Room>,
    /// The total number of rooms, if known.
    pub(super) in_database: Option<u64>,
}

/// The file that the store's example `fill` writes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoomsFile {
    user_id: String,
    rooms_in_database: u64,
    rooms: Vec<Room>,
}

/// Loads the rooms of a file.
pub(super) async fn named(client: &Client, path: &Path) -> Result<Prepared, RunError> {
    let file: RoomsFile = serde_json::from_value(read_json(path)?)
        .map_err(|error| RunError::Usage(format!("{} is not as `fill` writes it: {error}", path.display())))?;
    let body = MintUserToken { user_id: file.user_id, permissions: None, expires_in: None };
    let minted = patiently("minting a token", || client.mint_user_token(&body)).await?;
    let mut rooms = file.rooms;
    rooms.sort_by_key(|room| room.messages);
    if rooms.is_empty() {
        return Err(RunError::Usage(format!("{} names no room", path.display())));
    }
    Ok(Prepared { token: minted.token, rooms, in_database: Some(file.rooms_in_database) })
}

/// Creates and fills rooms by the public protocol.
pub(super) async fn made(client: &Client, address: &Address, to: usize, bytes: usize) -> Result<Prepared, RunError> {
    let tag = setup::run_tag("growth");
    let user = setup::create_user(client, tag.clone()).await?;
    let mut rooms = Vec::new();
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size <= to).collect();
    let sizes = if sizes.is_empty() { vec![to] } else { sizes };
    for messages in sizes {
        let id = setup::create_room(client, format!("{tag}-{messages}"), user.id).await?.to_string();
        fill(address, &user.token, &id, messages, bytes).await?;
        rooms.push(Room { id, messages });
    }
    Ok(Prepared { token: user.token, rooms, in_database: None })
}

/// Creates empty rooms up to `count`. `made` is the current number.
pub(super) async fn make_more(client: &Client, token: &str, made: &mut usize, count: usize) -> Result<(), RunError> {
    let (tag, own) = (setup::run_tag("growth"), client.clone());
    own.set_token(token).map_err(|source| RunError::Call { what: "a token", source })?;
    let more = count.saturating_sub(*made);
    in_parallel("making rooms", more, AT_ONCE, |number| {
        let (client, name) = (own.clone(), format!("{tag}-{number}"));
        async move {
            let body = chatsphere_client::bodies::CreateRoom { name, user_id: None };
            patiently("making a room", || client.create_room(&body)).await.map(drop)
        }
    })
    .await?;
    *made += more;
    Ok(())
}

/// Loads a JSON file of an earlier run.
pub(super) fn read_json(path: &Path) -> Result<Value, RunError> {
    let text = std::fs::read(path).map_err(|source| RunError::Io { what: "reading a file of an earlier run", source })?;
    serde_json::from_slice(&text).map_err(|error| RunError::Usage(format!("{} is not JSON: {error}", path.display())))
}
