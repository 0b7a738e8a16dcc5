//! The users, rooms and clients of a run.

use std::sync::Arc;

use chatsphere_client::{Client, RoomId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::device::{Device, Equipment, Status};
use super::plan::Plan;
use super::post::Posting;
use super::recorder::Recorder;
use super::steps::{Op, Size};
use super::steward::{Steward, ToChange};
use super::wire::Address;
use crate::judge::record::Change;
use chatsphere_bench::error::RunError;
use chatsphere_bench::setup::{self, RunUser};

/// Maximum number of queued operations per client or room.
const WAITING: usize = 4;

/// A running client.
pub(crate) struct AtWork {
    pub(crate) ops: mpsc::Sender<Op>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) task: JoinHandle<()>,
}

/// A room with changing members.
pub(crate) struct Kept {
    pub(crate) id: RoomId,
    pub(crate) changes: mpsc::Sender<ToChange>,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
}

pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) users: Vec<RunUser>,
    /// The users over REST.
    pub(crate) rests: Vec<Client>,
    pub(crate) rooms: Vec<Kept>,
    pub(crate) devices: Vec<AtWork>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) posting: Posting,
}

impl Stage {
    /// Creates users and rooms, and starts the clients.
    pub(crate) async fn set(url: &str, token: &str, size: Size, plan: &Plan) -> Result<Self, RunError> {
        let client = client_of(url, token)?;
        let address = Address::parse(url)?;
        let recorder = Arc::new(Recorder::new(size.devices));
        let posting = Posting::default();
        let tag = format!("verify-{:08x}", rand::random::<u32>());
        let (mut users, mut rests) = (Vec::new(), Vec::new());
        for number in 0..size.users {
            let user = setup::create_user(&client, format!("{tag}-{number}")).await?;
            rests.push(client_of(url, &user.token)?);
            users.push(user);
        }
        let mut rooms = Vec::new();
        for room in 0..size.rooms {
            rooms.push(keep_room(&client, &recorder, room, format!("{tag}-{room}"), plan.members(room), &users).await?);
        }
        let ids: Vec<RoomId> = rooms.iter().map(|room| room.id).collect();
        let mut devices = Vec::new();
        for number in 0..size.devices {
            let user = plan.user_of(number);
            let (Some(owner), Some(rest)) = (users.get(user), rests.get(user)) else { continue };
            let (device, status) = Device::new(Equipment {
                number,
                token: owner.token.clone(),
                address: address.clone(),
                reads_little: size.stalls > 0,
                rest: rest.clone(),
                recorder: recorder.clone(),
                posting: posting.clone(),
                rooms: ids.clone(),
            });
            let (ops, todo) = mpsc::channel(WAITING);
            devices.push(AtWork { ops, status, task: tokio::spawn(device.run(todo)) });
        }
        Ok(Self { client, users, rests, rooms, devices, recorder, posting })
    }
}

async fn keep_room(
    client: &Client,
    recorder: &Arc<Recorder>,
    room: usize,
    name: String,
    members: Vec<usize>,
    users: &[RunUser],
) -> Result<Kept, RunError> {
    let mut members = members.into_iter().filter_map(|user| Some((user, users.get(user)?)));
    let (user, owner) = members.next().ok_or_else(|| RunError::Usage("a room needs a user".to_owned()))?;
    let began = recorder.tick();
    let id = setup::create_room(client, name, owner.id).await?;
    recorder.changed(Change { room, user, adds: true, began, returned: recorder.tick() });
    let steward = Steward { client: client.clone(), recorder: recorder.clone(), room, id };
    for (user, added) in members {
        steward.change(ToChange { user, id: added.id, adds: true, itself: None }).await?;
    }
    let (changes, todo) = mpsc::channel(WAITING);
    Ok(Kept { id, changes, task: tokio::spawn(steward.run(todo)) })
}

fn client_of(url: &str, token: &str) -> Result<Client, RunError> {
    Client::new(url, token).map_err(|source| RunError::Call { what: "the server's address", source })
}
