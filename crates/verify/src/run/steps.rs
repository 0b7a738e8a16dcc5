//! What there is to do in a run.

use std::time::Duration;

use super::wire::Cut;
use crate::judge::record::Over;

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Send {
        message: Outgoing,
        over: Over,
        twice: bool,
    },
    /// Sends the last message again that was acknowledged in this room.
    SendAgain {
        room: usize,
    },
    /// Edits the last message that was acknowledged in this room.
    Edit {
        room: usize,
        text: String,
    },
    Join {
        room: usize,
    },
    Leave {
        room: usize,
    },
    /// Ends the connection; with a message, after so many thousandths of its frame.
    Drop {
        how: Cut,
        half: Option<(Outgoing, usize)>,
    },
    /// Reads nothing until it is woken.
    Sleep,
    Wake,
    /// Joins these rooms if it has not, and stays.
    Finish {
        rooms: Vec<usize>,
    },
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) room: usize,
    pub(crate) key: String,
    pub(crate) text: String,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Devices(Vec<(usize, Op)>),
    Change {
        room: usize,
        user: usize,
        adds: bool,
        by_itself: bool,
    },
    /// Kills the server, and again so long after its next start began.
    Kill {
        again_after: Option<Duration>,
    },
    /// Stops the database, and starts it so much later.
    StopDatabase {
        away: Duration,
    },
    /// One client sleeps while the others fill its queue.
    Stall {
        sleeper: usize,
        room: usize,
        messages: Vec<(usize, Op)>,
    },
}

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) users: usize,
    pub(crate) devices: usize,
    pub(crate) rooms: usize,
    pub(crate) operations: usize,
    pub(crate) kills: usize,
    pub(crate) database_stops: usize,
    pub(crate) stalls: usize,
    pub(crate) drops: bool,
}
