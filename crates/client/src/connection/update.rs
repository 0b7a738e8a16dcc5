use std::time::Duration;

use chatsphere_protocol::frames::{ErrorFrame, NotRecovered};
use chatsphere_types::{ConnectionId, RoomId, Timestamp, UserId};

use super::room_cursor::Cursor;
use crate::event::Event;

/// What a connection tells its application.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// An event of a joined room: each once, in the room's order.
    Event(Event),
    /// The connection is up, for the first time or again. Rooms are being joined again.
    Connected {
        /// Whom it stands for.
        user: UserId,
        /// Names it in the server's log.
        connection: ConnectionId,
        /// When the token expires.
        expires_at: Timestamp,
    },
    /// A newer token was accepted.
    Authenticated {
        /// When it expires.
        expires_at: Timestamp,
    },
    /// The connection is down and will be tried again.
    Reconnecting {
        /// After this wait.
        after: Duration,
        /// Why it is down.
        reason: String,
    },
    /// The connection is closed and does not come back. Nothing follows.
    Closed {
        /// The close code, see [`chatsphere_protocol::close`].
        code: u16,
        /// What the server said.
        reason: String,
    },
    /// All that was before was handed out; what follows is live.
    CaughtUp {
        /// Which room.
        room: RoomId,
        /// Where it stands.
        cursor: Cursor,
    },
    /// A room could not be gone on with: the newest part of it follows. What lies between is at
    /// [`Client::events`](crate::Client::events), unless the epoch changed.
    NotRecovered {
        /// Which room.
        room: RoomId,
        /// Why; `None` for a reason that this version does not know.
        reason: Option<NotRecovered>,
        /// Where the client stood.
        before: Cursor,
    },
    /// The connection no longer listens to a room.
    Left {
        /// Which room.
        room: RoomId,
        /// Why: `removed`, `rights_changed`, or the code of the error that a renewed join met.
        reason: String,
    },
    /// The server reports an error that answers no call of this client.
    Error(ErrorFrame<'static>),
}
