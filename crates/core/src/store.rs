//! The port to durable storage. Each write is one use case and one atomic step inside the adapter, so that no caller can
//! execute half of it.
//!
//! # What every adapter guarantees
//! - A write that was answered with `Ok` is on disk. A write that was answered with an error stored nothing, except for
//!   [`Unavailable::OutcomeUnknown`](crate::Unavailable::OutcomeUnknown), whose outcome is unknown.
//! - A room's events are numbered 1, 2, 3 … without a gap. The commit assigns the number, and no read sees `seq` N + 1 before
//!   N.
//! - Rights are checked in the commit ([`Actor`]). Once a write that revokes rights was answered, no node commits anything that
//!   needed them.
//! - Queued writes are committed in groups. One bad write never fails its group.
//! - After a commit that added events, and before any of its writes is answered, the store calls [`CommitSink::committed`]
//!   once, in commit order, with the acknowledgements of the commit. A submitted write is executed even if its caller is gone.
//! - Reads never wait for writes. A page, and the membership that permits reading it, are read from one snapshot.
//! - [`UrgentReads`] and [`Store::ping`] never wait behind other reads.
//! - A write to a full queue is answered with [`Unavailable::QueueFull`](crate::Unavailable::QueueFull) at once.
//!
//! One conformance suite (`chatsphere-store/tests/conformance`) runs against every adapter.

mod commit;
mod reads;
mod writes;

use async_trait::async_trait;

pub use commit::{Ack, AckTo, CommitSink, Committed, Receipt};
pub use reads::{
    Cursor, EventsPage, History, HistoryRange, Members, MessageFilter, MessageRead, MessageReads, Newest, Page, PageRequest,
    Pins, Place, RoomFilter, RoomReads, RoomRelation, RoomVersion, UrgentReads, UserReads, Versioned, Versions,
};
pub use writes::{
    Actor, AnyWrite, Changed, Done, ExternalUser, ExternalUserDone, Idempotency, MemberRemoval, MembershipChange,
    MembershipChanged, MessageDeletion, MessageEdit, NewMember, NewMessage, NewRoom, NewToken, NewUser, Pending, PinChange,
    Reply, Revocation, Submission, UserChange, VersionsForgotten, Write,
};

use crate::error::Error;
use crate::ids::UserId;
use crate::seq::Epoch;

/// How long the outcome of an `Idempotency-Key` is stored.
pub const IDEMPOTENCY_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// How long the entries of the control log are kept at least. Positions have no gaps. A reader whose next entry is missing was
/// away for longer and missed changes, so it must discard its cache.
pub const CONTROL_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The largest JSON of a page of any list, in bytes, whatever its limit. A page ends before the item that would exceed this
/// size, unless that is its first item. So a page can be larger only if it has a single item that is; for a message that
/// requires a raised `message_bytes`. A page with fewer items than its limit need not be the last one. [`History::has_older`]
/// and [`History::has_newer`], [`Page::next`], [`EventsPage::head`] and [`Newest::from`] say whether more follows.
/// [`EncodedLen`](crate::EncodedLen) measures items.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// The access with which a room is read or posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Access while this user is a member of the room. Otherwise the error is
    /// [`Forbidden::NotAMember`](crate::Forbidden::NotAMember).
    Member(UserId),
    /// Access to every room. If the room does not exist, the error is [`NotFound::Room`](crate::NotFound::Room).
    Any,
}

impl Access {
    /// Returns the access that both this and `other` allow.
    pub fn within(self, other: Self) -> Self {
        if self == Self::Any { other } else { self }
    }
}

/// Durable storage. The module's docs list what every adapter guarantees.
#[async_trait]
pub trait Store: UrgentReads + UserReads + RoomReads + MessageReads + 'static {
    /// Queues a write of any kind. [`submit`](#method.submit) and [`submit_for`](#method.submit_for) call it.
    fn submit_any(&self, write: AnyWrite);
    /// Returns the current epoch of the data.
    fn epoch(&self) -> Epoch;
    /// Checks that the database answers reads and accepts writes, and that the writer is running.
    async fn ping(&self) -> Result<(), Error>;
    /// Resolves when the store executes no more writes, because it was closed or its writer has failed.
    async fn ended(&self);
    /// Executes the queued writes, rejects later ones with [`Unavailable::Stopping`](crate::Unavailable::Stopping), and closes
    /// the database.
    async fn close(&self);
    /// Returns once every connection to the database is closed. Call it after [`Store::close`].
    async fn closed(&self);
}

impl dyn Store + '_ {
    /// Submits a write. The write is in the queue when this returns, so two calls in a row are executed in this order.
    pub fn submit<W: Write>(&self, write: W) -> Pending<W::Answer> {
        let (sender, pending) = Pending::new();
        self.submit_any(write.with_reply(Reply::Pending(sender)));
        pending
    }

    /// Submits a write like `submit`. The [`CommitSink`] gets its outcome, with `to`, and no task waits for it: waking a task
    /// costs more than the answer.
    pub fn submit_for<W: Write>(&self, write: W, to: AckTo)
    where
        Receipt: for<'a> From<&'a W::Answer>,
    {
        self.submit_any(write.with_reply(Reply::Ack(to, |answer| Receipt::from(answer))));
    }
}
