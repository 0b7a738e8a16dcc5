use std::time::Duration;

use chatsphere_protocol::frames::{ErrorFrame, NotRecovered};
use chatsphere_protocol::rest::UserRef;
use chatsphere_types::{ConnectionId, MessageId, RoomId, Timestamp, UserId};

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
    /// Somebody types in a joined room, or has stopped. Some of these may be missing.
    Typing {
        /// Which room.
        room: RoomId,
        /// Who. Never the user of this connection.
        user: UserRef<'static>,
        /// In the thread of this message.
        parent: Option<MessageId>,
        /// For how long to show it, unless a message of that user comes before; zero ends it.
        expires_in: Duration,
    },
    /// How many type in a large joined room, instead of who. Comes each second; without another within some seconds, nobody
    /// does.
    TypingCount {
        /// Which room.
        room: RoomId,
        /// How many.
        count: usize,
    },
    /// The server reports an error that answers no call of this client.
    Error(ErrorFrame<'static>),
}
