//! The port to durable storage, shaped by use case: each write is one atomic step inside the adapter, so that nothing
//! above can do it half.
//!
//! # What every adapter guarantees
//! - A write that answered `Ok` is on disk. A write that answered an error stored nothing, except
//!   [`Unavailable::OutcomeUnknown`](crate::Unavailable::OutcomeUnknown), where nobody can tell.
//! - A room's events are numbered 1, 2, 3 … without a gap; the number is given inside the commit, and `seq` N + 1 is never
//!   visible to a read before N.
//! - Rights are judged in the commit ([`Actor`]): once a write that takes rights away has answered, nothing that needed them is
//!   committed any more, on any node.
//! - Writes that wait are committed in groups. One bad write never fails its group.
//! - After a commit that added to rooms and before any of its writes answers, [`CommitSink::committed`] is called once, in
//!   commit order, with its acknowledgements. A caller that vanishes cancels nothing: a write once submitted is carried out.
//! - Reads never wait for writes. A page and the membership that allows it are read from one snapshot.
//! - [`UrgentReads`] and [`Store::ping`] never wait behind other reads.
//! - A full write queue answers [`Unavailable::QueueFull`](crate::Unavailable::QueueFull) at once.
//!
//! One conformance suite (`chatsphere-store/tests/conformance`) runs against every adapter.

mod commit;
mod reads;
mod writes;

use async_trait::async_trait;

pub use commit::{Ack, AckTo, CommitSink, Committed, Receipt};
pub use reads::{
    Cursor, EventsPage, History, HistoryRange, Members, MessageFilter, MessageReads, Newest, Page, PageRequest, RoomFilter,
    RoomReads, RoomRelation, RoomVersion, UrgentReads, UserReads, Versioned, Versions,
};
pub use writes::{
    Actor, AnyWrite, Changed, Done, ExternalUser, ExternalUserDone, Idempotency, MemberRemoval, MembershipChange,
    MembershipChanged, MessageEdit, NewMember, NewMessage, NewRoom, NewToken, NewUser, Pending, Reply, Revocation, Submission,
    UserChange, VersionsForgotten, Write,
};

use crate::error::Error;
use crate::ids::UserId;
use crate::seq::Epoch;

/// How long an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// How long the control log is kept at least. Positions have no gaps: a reader that finds its next entry further on than the
/// next position was away for longer, missed changes, and must look up anew all that it remembers.
pub const CONTROL_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// How many bytes the JSON of a page takes at most, whatever its limit: a page of any list ends before the item that would
/// exceed them, unless that is its first. So the largest page of all is a single item that is larger than this; of a message
/// that can happen only where `message_bytes` was raised. A page with fewer items than its limit need not be the last one;
/// whether more follows is told by [`History::has_older`] and [`History::has_newer`], [`Page::next`], [`EventsPage::head`] and
/// [`Newest::from`]. Items are measured by [`EncodedLen`](crate::EncodedLen).
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Whose eyes a read has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Sees the room only while a member; everything else is [`Forbidden::NotAMember`](crate::Forbidden::NotAMember).
    Member(UserId),
    /// Sees every room; one that does not exist is [`NotFound::Room`](crate::NotFound::Room).
    Any,
}

impl Access {
    /// What this and `other` both allow.
    pub fn within(self, other: Self) -> Self {
        if self == Self::Any { other } else { self }
    }
}

/// Durable storage. See the module for what every adapter guarantees.
#[async_trait]
pub trait Store: UrgentReads + UserReads + RoomReads + MessageReads + 'static {
    /// Lets a write of any kind take its place in the queue. [`submit`](#method.submit) and
    /// [`submit_for`](#method.submit_for) call it.
    fn submit_any(&self, write: AnyWrite);
    /// This life of the data.
    fn epoch(&self) -> Epoch;
    /// Whether the database answers reads and takes writes, and the writer is there.
    async fn ping(&self) -> Result<(), Error>;
    /// Resolves when nothing is written any more: it was closed, or its writer has broken.
    async fn ended(&self);
    /// Carries out what waits, refuses what comes later with [`Unavailable::Stopping`](crate::Unavailable::Stopping), and
    /// closes.
    async fn close(&self);
    /// After [`Store::close`]: returns once every connection to the database is closed.
    async fn closed(&self);
}

impl dyn Store + '_ {
    /// Submits a write. It takes its place in the queue before this returns: two calls in a row are carried out in this order.
    pub fn submit<W: Write>(&self, write: W) -> Pending<W::Answer> {
        let (sender, pending) = Pending::new();
        self.submit_any(write.with_reply(Reply::Pending(sender)));
        pending
    }

    /// Submits a write like `submit`. What becomes of it comes to the [`CommitSink`], with `to`, instead of to a task that
    /// waits: waking one costs more than the answer.
    pub fn submit_for<W: Write>(&self, write: W, to: AckTo)
    where
        Receipt: for<'a> From<&'a W::Answer>,
    {
        self.submit_any(write.with_reply(Reply::Ack(to, |answer| Receipt::from(answer))));
    }
}
