use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chatsphere_client::{Client, ConnectOptions, Cursor, RoomId};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::Args;
use super::watcher::Socket;
use crate::cutter::Cutter;
use crate::error::RunError;
use crate::setup::{self, RunUser, patiently};

/// The users, rooms and sockets of a run.
pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) rooms: Vec<StageRoom>,
    pub(super) sockets: Vec<Socket>,
    /// A user without sockets, who is added and removed repeatedly.
    guest: RunUser,
    /// The proxy of the sockets' connections. Must live as long as the sockets, because they reconnect through it.
    cutter: Cutter,
    /// A connection is cut after this many messages.
    cut_every: Option<usize>,
    most_cuts: usize,
    sent: AtomicUsize,
    cuts: AtomicUsize,
}

pub(super) struct StageRoom {
    pub(super) id: RoomId,
    /// Indices of its members in the list of users.
    members: Vec<usize>,
}

impl Stage {
    /// Creates users and rooms, opens the sockets and joins the rooms.
    pub(super) async fn set(args: &Args, cutter: Cutter, random: &mut StdRng) -> Result<Self, RunError> {
        let client = args.target.client()?;
        let tag = setup::run_tag("smoke");
        let mut users = Vec::new();
        for number in 0..args.users {
            users.push(setup::create_user(&client, format!("{tag}-{number}")).await?);
        }
        let guest = setup::create_user(&client, format!("{tag}-guest")).await?;
        let mut rooms = Vec::new();
        for number in 0..args.rooms {
            rooms.push(room(&client, format!("{tag}-{number}"), &users, random).await?);
        }
        let mut sockets = Vec::new();
        for number in 0..args.sockets {
            let who = random.random_range(0..users.len());
            let joined: Vec<RoomId> = rooms.iter().filter(|room| room.members.contains(&who)).map(|room| room.id).collect();
            let token = users.get(who).map(|user| user.token.as_str()).unwrap_or_default();
            let own = Client::new(cutter.url(), token)
                .map_err(|source| RunError::Call { what: "the address of the proxy", source })?;
            let rest = args.target.client_of(token)?;
            // Cuts are frequent here; an application's clients would wait longer.
            let options = ConnectOptions::default().backoff(Duration::from_millis(20), Duration::from_millis(500));
            let socket = Socket::open(number, own.connect(options), rest, joined);
            for room in &socket.rooms {
                let joining = socket.connection.join_since(*room, Cursor::BEGINNING).await;
                joining.map_err(|source| RunError::Request { what: "joining a room", source })?;
            }
            sockets.push(socket);
        }
        let cut_every = (args.cuts > 0).then(|| (args.messages / (args.cuts + 1)).max(1));
        let (sent, cuts) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { client, rooms, sockets, guest, cutter, cut_every, most_cuts: args.cuts, sent, cuts })
    }

    /// Counts a sent message. Cuts a connection when it is due, while others are sending.
    pub(super) fn progressed(&self, random: &mut StdRng) {
        let sent = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        if self.cut_every.is_some_and(|every| sent.is_multiple_of(every) && sent / every <= self.most_cuts)
            && self.cutter.cut_one(random)
        {
            self.cuts.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Adds and removes the guest in every room, so that messages are not the only events.
    pub(super) async fn change_members(stage: Arc<Self>) -> Result<(), RunError> {
        for room in &stage.rooms {
            setup::add_member(&stage.client, room.id, stage.guest.id).await?;
            patiently("removing a member", || stage.client.remove_member(room.id, stage.guest.id)).await?;
        }
        Ok(())
    }

    /// A random socket and one of its rooms.
    pub(super) fn pick(&self, random: &mut StdRng) -> Option<(&Socket, RoomId)> {
        loop {
            let socket = self.sockets.choose(random)?;
            if let Some(room) = socket.rooms.choose(random) {
                return Some((socket, *room));
            }
            if self.sockets.iter().all(|socket| socket.rooms.is_empty()) {
                return None;
            }
        }
    }
}

/// Creates a room with at least half of the users.
async fn room(client: &Client, name: String, users: &[RunUser], random: &mut StdRng) -> Result<StageRoom, RunError> {
    let mut members: Vec<usize> = (0..users.len()).collect();
    members.shuffle(random);
    members.truncate(random.random_range(users.len().div_ceil(2)..=users.len()));
    let mut chosen = members.iter().filter_map(|index| users.get(*index));
    let owner = chosen.next().ok_or_else(|| RunError::Usage("a room needs a user".to_owned()))?;
    let id = setup::create_room(client, name, owner.id).await?;
    for user in chosen {
        setup::add_member(client, id, user.id).await?;
    }
    Ok(StageRoom { id, members })
}
