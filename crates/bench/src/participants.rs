use std::collections::BTreeSet;

use chatsphere_client::{Client, RoomId};

use crate::error::RunError;
use crate::parallel::in_parallel;
use crate::setup::{self, RunUser};

/// Sockets per user: below the server's default limit.
pub(crate) const SOCKETS_PER_USER: usize = 500;
/// Concurrent calls that create users and rooms.
const AT_ONCE: usize = 32;

/// Users and rooms for many sockets: each socket has a user and a room, and its user is a member of its room.
#[derive(Debug)]
pub(crate) struct Participants {
    pub(crate) users: Vec<RunUser>,
    pub(crate) rooms: Vec<RoomId>,
    per_user: usize,
    per_room: usize,
}

/// The distribution of sockets over users and rooms: in blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) sockets: usize,
    pub(crate) per_user: usize,
    pub(crate) per_room: usize,
}

impl Participants {
    pub(crate) async fn make(client: &Client, tag: &str, spread: Spread) -> Result<Self, RunError> {
        let (per_user, per_room) = (spread.per_user.max(1), spread.per_room.max(1));
        let (one, name) = (client.clone(), tag.to_owned());
        let users = in_parallel("making users", spread.sockets.div_ceil(per_user), AT_ONCE, |number| {
            let (client, name) = (one.clone(), format!("{name}-{number}"));
            async move { setup::create_user(&client, name).await }
        })
        .await?;
        let members: BTreeSet<(usize, usize)> =
            (0..spread.sockets).map(|socket| (socket / per_room, socket / per_user)).collect();
        let rooms = in_parallel("making rooms", spread.sockets.div_ceil(per_room), AT_ONCE, |number| {
            let (client, name) = (one.clone(), format!("{name}-{number}"));
            let mut of_room = members.range((number, 0)..(number + 1, 0)).filter_map(|(_, user)| users.get(*user));
            let owner = of_room.next().map(|user| user.id);
            let others: Vec<_> = of_room.map(|user| user.id).collect();
            async move {
                let owner = owner.ok_or_else(|| RunError::Usage("a room needs a user".to_owned()))?;
                let room = setup::create_room(&client, name, owner).await?;
                for user in others {
                    setup::add_member(&client, room, user).await?;
                }
                Ok(room)
            }
        })
        .await?;
        Ok(Self { users, rooms, per_user, per_room })
    }

    /// The token and the room of a socket.
    pub(crate) fn member(&self, socket: usize) -> (String, String) {
        let token = self.users.get(socket / self.per_user).map(|user| user.token.clone()).unwrap_or_default();
        let room = self.rooms.get(socket / self.per_room).map(ToString::to_string).unwrap_or_default();
        (token, room)
    }
}
