use chatsphere_protocol::frames::{Ack, ClientFrame};
use chatsphere_types::{RoomId, Seq};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::outbox::OutgoingMessage;
use super::room_cursor::Cursor;
use crate::error::RequestError;

/// A request of the application to its connection.
pub(crate) enum Command {
    Join { room: RoomId, since: Option<Cursor>, reply: JoinReply },
    Leave { room: RoomId, reply: oneshot::Sender<()> },
    Send { room: RoomId, message: OutgoingMessage, reply: SendReply },
    Signal(ClientFrame<'static>),
}

pub(crate) type JoinReply = oneshot::Sender<Result<Joined, RequestError>>;

/// The waiter for an acknowledgement. The permit limits their number.
pub(crate) struct SendReply {
    pub(crate) reply: oneshot::Sender<Result<Ack<'static>, RequestError>>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// The result of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The room's newest event at the time of the join, where the replay ends.
    pub seq: Seq,
    /// Whether everything after the cursor follows. False without a cursor: then the newest messages follow.
    pub recovered: bool,
}
