//! The operations of a run.

use std::time::Duration;

use super::wire::Cut;
use crate::judge::record::Over;

/// An operation of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Send {
        message: Outgoing,
        over: Over,
        twice: bool,
    },
    /// Sends the last acknowledged message of this room again.
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
    /// Ends the connection; with a message, after this many thousandths of its frame.
    Drop {
        how: Cut,
        half: Option<(Outgoing, usize)>,
    },
    /// Stops reading until woken.
    Sleep,
    Wake,
    /// Joins these rooms unless it has, and stays.
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

/// A step of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Devices(Vec<(usize, Op)>),
    Change {
        room: usize,
        user: usize,
        adds: bool,
        by_itself: bool,
    },
    /// Kills the server, and again this long after its next start began.
    Kill {
        again_after: Option<Duration>,
    },
    /// Stops the database, and starts it after this time.
    StopDatabase {
        away: Duration,
    },
    /// One client stops reading while the others fill its queue.
    Stall {
        sleeper: usize,
        room: usize,
        messages: Vec<(usize, Op)>,
    },
}

/// The size of a run.
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
