use std::time::Duration;

use chatsphere_protocol::frames::{ErrorFrame, NotRecovered};
use chatsphere_protocol::rest::UserRef;
use chatsphere_types::{ConnectionId, MessageId, RoomId, Timestamp, UserId};

use super::room_cursor::Cursor;
use crate::event::Event;

/// An update of a connection for its application.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly all are events, which then need no allocation of their own")]
pub enum Update {
    /// An event of a joined room: each once, in order.
    Event(Event),
    /// The connection is open, for the first time or again. Rooms are being joined again.
    Connected {
        /// The user of the token.
        user: UserId,
        /// The id of the connection in the server's log.
        connection: ConnectionId,
        /// When the token expires.
        expires_at: Timestamp,
    },
    /// A newer token was accepted.
    Authenticated {
        /// When it expires.
        expires_at: Timestamp,
    },
    /// The connection is down and will reconnect.
    Reconnecting {
        /// The delay before the next attempt.
        after: Duration,
        /// The reason for the disconnect.
        reason: String,
    },
    /// The connection is closed for good. No update follows.
    Closed {
        /// The close code, see [`chatsphere_protocol::close`].
        code: u16,
        /// The server's reason.
        reason: String,
    },
    /// All earlier events were delivered; the following ones are live.
    CaughtUp {
        /// The room.
        room: RoomId,
        /// The current position.
        cursor: Cursor,
    },
    /// A room could not be resumed: its newest messages follow. The events in between are available from
    /// [`Client::events`](crate::Client::events), unless the epoch changed.
    NotRecovered {
        /// The room.
        room: RoomId,
        /// The reason; `None` for a reason that this version does not know.
        reason: Option<NotRecovered>,
        /// The previous position.
        before: Cursor,
    },
    /// The connection is no longer subscribed to a room.
    Left {
        /// The room.
        room: RoomId,
        /// The reason: `removed`, `rights_changed`, or the error code of a repeated join.
        reason: String,
    },
    /// A user types in a joined room, or has stopped. Some of these updates may be lost.
    Typing {
        /// The room.
        room: RoomId,
        /// The user. Never the user of this connection.
        user: UserRef<'static>,
        /// The parent message, if the user types in a thread.
        parent: Option<MessageId>,
        /// How long to show the indicator, unless the user's message arrives before; zero hides it.
        expires_in: Duration,
    },
    /// The number of users typing in a large joined room, in place of their names. Sent every second; if none arrives for a few
    /// seconds, nobody types.
    TypingCount {
        /// The room.
        room: RoomId,
        /// The number of users.
        count: usize,
    },
    /// A signal of the application from another connection to a joined room. Some of these updates may be lost.
    Signal {
        /// The room.
        room: RoomId,
        /// The user who sent it.
        user: UserRef<'static>,
        /// What it is.
        name: String,
        /// Its content: JSON, as it was sent.
        data: String,
    },
    /// The server reports an error that belongs to no call of this client.
    Error(ErrorFrame<'static>),
}
