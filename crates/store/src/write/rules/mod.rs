//! What each kind of write is and does, written once for every database.
//!
//! A kind of write has one [`WriteInfo`] and one [`Rule`], which stand together in the file of what they are about. A rule
//! looks first, refuses if it must, and writes last: a refused write has changed nothing, so its batch goes on.

mod actor;
mod append;
pub(crate) mod decide;
mod edit;
mod events;
mod members;
mod names;
pub(crate) mod outcome;
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

/// What the queue, the quotas and the transaction must know of a write before it is carried out.
pub(crate) trait WriteInfo: Sync {
    /// Where it comes from, and where it goes.
    fn origin(&self) -> Origin;
    /// By whose token.
    fn actor(&self) -> Actor {
        self.origin().actor
    }
    /// When it was accepted.
    fn at(&self) -> Timestamp {
        self.origin().at
    }
    /// The room whose events it may add to.
    fn room(&self) -> Option<RoomId> {
        self.origin().room
    }
    /// Bytes that it holds in memory besides its own size, about.
    fn held_bytes(&self) -> usize {
        0
    }
    /// Bytes that it stores, as they are counted for quotas: texts as they are, and what rows and their indexes take, roughly.
    fn stored_bytes(&self) -> u64;
    /// Whether the database is larger afterwards. What the operator does besides messages is little, and must go through.
    fn grows(&self) -> bool {
        self.stored_bytes() > 0 && self.actor() != Actor::Operator
    }
    /// Whose quota it counts against, given its token.
    fn payer(&self, state: &TokenState) -> Option<UserId> {
        (state.token_type() == TokenType::User).then(|| state.user_id())
    }
    /// Whether it may take rights away from whoever writes: from a token or a user, not from a member of a room.
    fn takes_rights(&self) -> bool {
        false
    }
}

/// What every write carries.
pub(crate) struct Origin {
    /// By whose token.
    pub(crate) actor: Actor,
    /// When it was accepted.
    pub(crate) at: Timestamp,
    /// The room whose events it may add to.
    pub(crate) room: Option<RoomId>,
}

/// What a kind of write does. Messages have none: [`append`] carries out whole runs of them.
pub(crate) trait Rule: Write + WriteInfo {
    /// Carries it out within the transaction that has begun. The answer holds only once that is committed.
    fn carry_out<D: WriteDatabase>(
        &self,
        database: &mut D,
        effects: &mut Effects,
    ) -> impl Future<Output = Result<Self::Answer, Stop>> + Send;

    /// Whether an answer tells of something that was stored now, which counts for quotas.
    fn stored(_answer: &Self::Answer) -> bool {
        true
    }
}

/// Whether something was stored now.
fn is_new<T>(done: &Done<T>) -> bool {
    !done.replayed
}

/// What a transaction changed so far, for those who are told after its commit.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) control: Vec<(ControlChange, Timestamp)>,
}

/// The transaction that carries out a batch.
pub(crate) struct Batch<'a, D> {
    database: &'a mut D,
    quota: Quota,
    effects: Effects,
}

/// Carries out a batch in its order within the transaction that has begun. The outcomes stay with the commands, and hold only
/// once it is committed.
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

/// Carries out one write, unless whoever pays for it has nothing left.
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
