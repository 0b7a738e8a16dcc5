//! The properties and the execution of each kind of write, the same for every database.
//!
//! A kind of write has one [`WriteInfo`] and one [`Rule`], in the same file. A rule first reads, then rejects if it must, and
//! writes last. So a rejected write has changed nothing, and its batch continues.

mod actor;
mod append;
pub(crate) mod decide;
mod delete;
mod edit;
mod events;
mod found_message;
mod members;
mod names;
pub(crate) mod outcome;
mod pins;
mod quota;
mod rooms;
mod tokens;
mod users;

use std::sync::Arc;

use chatsphere_core::store::Write;
use chatsphere_core::{Actor, ControlChange, Done, Error, Event, RoomId, Timestamp, TokenState, TokenType, UserId};

use super::command::{Command, Work};
use super::database::WriteDatabase;
use super::failure::{Failure, Stop};
use quota::Quota;

/// The properties of a write that the queue, the quotas and the transaction need before it is executed.
pub(crate) trait WriteInfo: Sync {
    /// Returns the actor, the time and the room of the write.
    fn origin(&self) -> Origin;
    /// The actor whose rights the commit checks.
    fn actor(&self) -> Actor {
        self.origin().actor
    }
    /// When the server accepted it.
    fn at(&self) -> Timestamp {
        self.origin().at
    }
    /// The room to which the write may add events.
    fn room(&self) -> Option<RoomId> {
        self.origin().room
    }
    /// Returns the approximate bytes of memory that it takes besides its own size.
    fn held_bytes(&self) -> usize {
        0
    }
    /// Returns the bytes that it stores, as quotas count them: the sizes of texts, and a rough size of rows and their indexes.
    fn stored_bytes(&self) -> u64;
    /// Whether it lets the database grow. The operator's writes other than messages are small, and must always succeed.
    fn grows(&self) -> bool {
        self.stored_bytes() > 0 && self.actor() != Actor::Operator
    }
    /// Returns the user whose quota it counts against, given its token.
    fn payer(&self, state: &TokenState) -> Option<UserId> {
        (state.token_type() == TokenType::User).then(|| state.user_id())
    }
    /// Whether it may revoke rights that writes of others need: rights of a token or a user. The rights of a room's members are
    /// guarded by the lock of the room.
    fn takes_rights(&self) -> bool {
        false
    }
}

/// The actor, the time and the room of a write.
pub(crate) struct Origin {
    /// The actor whose rights the commit checks.
    pub(crate) actor: Actor,
    /// When the server accepted it.
    pub(crate) at: Timestamp,
    /// The room to which the write may add events.
    pub(crate) room: Option<RoomId>,
}

/// The execution of a kind of write. Messages have no rule: [`append`] executes whole runs of them.
pub(crate) trait Rule: Write + WriteInfo {
    /// Executes the write within the transaction that has begun. The answer holds only once the transaction is committed.
    fn carry_out<D: WriteDatabase>(
        &self,
        database: &mut D,
        effects: &mut Effects,
    ) -> impl Future<Output = Result<Self::Answer, Stop>> + Send;

    /// Whether the write stored something, which counts for quotas.
    fn stored(_answer: &Self::Answer) -> bool {
        true
    }
}

/// Whether the write stored something, and is not a replay.
fn is_new<T>(done: &Done<T>) -> bool {
    !done.replayed
}

/// The changes of a transaction so far, which are published after its commit.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) control: Vec<(ControlChange, Timestamp)>,
}

/// The transaction that executes a batch.
pub(crate) struct Batch<'a, D> {
    database: &'a mut D,
    quota: Quota,
    effects: Effects,
}

/// Executes a batch, in its order, within the transaction that has begun. The commands keep their outcomes, which hold only
/// once the transaction is committed.
pub(crate) async fn carry_out<D: WriteDatabase>(
    database: &mut D,
    commands: &mut [Command<D>],
    daily_bytes: u64,
) -> Result<Effects, Failure> {
    let quota = Quota::read(database, commands, daily_bytes).await?;
    let mut batch = Batch { database, quota, effects: Effects::default() };
    for run in commands.chunk_by_mut(|one, next| one.is_message() && next.is_message()) {
        match run {
            [Command { work: Work::Other(task), .. }] => task.carry_out(&mut batch).await?,
            messages => append::append(&mut batch, messages).await?,
        }
    }
    let Batch { database, quota, effects } = batch;
    quota.keep(database).await?;
    Ok(effects)
}

/// Executes one write, unless the quota of the user it counts against is exhausted.
pub(super) async fn within<W: Rule, D: WriteDatabase>(
    batch: &mut Batch<'_, D>,
    write: &W,
) -> Result<Result<W::Answer, Error>, Failure> {
    let payer = batch.quota.payer(batch.database, write).await?;
    if let Some(user) = payer
        && let Err(exceeded) = batch.quota.check(user, write.at())
    {
        return Ok(Err(exceeded));
    }
    let answer = match write.carry_out(batch.database, &mut batch.effects).await {
        Ok(answer) => answer,
        Err(Stop::Refused(error)) => return Ok(Err(error)),
        Err(Stop::Failed(failure)) => return Err(failure),
    };
    if let Some(user) = payer.filter(|_| W::stored(&answer)) {
        batch.quota.count(user, write.stored_bytes());
    }
    Ok(Ok(answer))
}
