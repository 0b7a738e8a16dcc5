//! The one writer of a node: takes all that waits, commits it as one transaction, tells the sink, then answers.

use std::sync::Arc;

use chatsphere_core::store::CONTROL_KEPT;
use chatsphere_core::{CommitSink, Error, Event, RoomId, Timestamp, Unavailable};
use metrics::Histogram;
use tokio::time::Instant;

use super::command::{Command, tell};
use super::database::WriteDatabase;
use super::failure::Failure;
use super::queue::Queue;
use super::rules;
use crate::space::Space;

/// How often a batch is tried when other writers get in its way.
const TRIES: u32 = 4;
/// How often a batch is tried when there is no space for changes that must go through.
const RELIEFS: u32 = 2;
/// The newest entries of the control log stay whatever their age: a node whose clock is wrong must not remove what the others
/// have yet to read.
const CONTROL_SPARED: u64 = 1_000;
/// How many entries of the control log one transaction looks at to remove them.
const CONTROL_FORGOTTEN: usize = 500;

/// Carries out what comes through a queue, until that is closed and empty.
pub(crate) struct Writer<D> {
    pub(crate) database: D,
    pub(crate) queue: Arc<Queue<D>>,
    pub(crate) sink: Arc<dyn CommitSink>,
    /// Whether there is room to grow.
    pub(crate) space: Arc<Space>,
    /// Whether there was none before, and what could be done about it was done.
    pub(crate) was_low: bool,
    /// How many bytes a user may store a day; 0 is no limit.
    pub(crate) daily_bytes: u64,
    /// Messages a commit.
    pub(crate) batch_messages: Histogram,
    /// Seconds from taking a batch to its commit.
    pub(crate) commit_seconds: Histogram,
}

impl<D: WriteDatabase> Writer<D> {
    pub(crate) async fn run(mut self) {
        let _no_more = NoMore(Arc::clone(&self.queue), Arc::clone(&self.sink));
        while let Some(batch) = self.queue.take().await {
            self.carry_out(batch).await;
        }
    }

    /// Commits a batch, as one transaction if it can be. A batch that the database refuses is halved until the write that it
    /// can't take stands alone, so that the others don't fail with it.
    async fn carry_out(&mut self, batch: Vec<Command<D>>) {
        let mut parts = vec![self.admit(batch).await];
        let mut reliefs = RELIEFS;
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let started = Instant::now();
            match self.commit(&mut part).await {
                Ok(events) => {
                    self.commit_seconds.record(started.elapsed());
                    if !events.is_empty() {
                        #[allow(clippy::cast_precision_loss, reason = "a batch is never near 2^52 long")]
                        self.batch_messages.record(events.len() as f64);
                    }
                    tell(&*self.sink, events, part);
                }
                Err(Failure::Rejected | Failure::UniqueViolation | Failure::Conflict) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
                Err(Failure::DiskFull) => {
                    self.space.met_full_disk();
                    let before = part.len();
                    let rest = self.refuse_growth(part);
                    if rest.len() < before {
                        parts.push(rest);
                    } else if reliefs > 0 && self.database.relieve(true).await {
                        reliefs -= 1;
                        parts.push(rest);
                    } else {
                        refuse(&*self.sink, rest, Failure::DiskFull);
                    }
                }
                Err(failure) => refuse(&*self.sink, part, failure),
            }
        }
    }

    /// What of a batch may be carried out at the moment.
    async fn admit(&mut self, batch: Vec<Command<D>>) -> Vec<Command<D>> {
        if !self.space.is_low() {
            self.was_low = false;
            return batch;
        }
        if !self.was_low {
            // While there still is some space to do it in. It may be that somebody reads, or copies at this moment.
            self.was_low = self.database.relieve(false).await;
        }
        self.refuse_growth(batch)
    }

    /// Refuses what would let the database grow, and leaves the rest.
    fn refuse_growth(&self, batch: Vec<Command<D>>) -> Vec<Command<D>> {
        let (growing, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|command| command.info().grows());
        growing.iter().for_each(|_| self.space.refused());
        refuse(&*self.sink, growing, Failure::DiskFull);
        rest
    }

    /// Answers what was added to rooms.
    async fn commit(&mut self, batch: &mut [Command<D>]) -> Result<Vec<Arc<Event>>, Failure> {
        let mut rooms: Vec<RoomId> = batch.iter().filter_map(|command| command.info().room()).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let since = batch.iter().map(|command| command.since).min().unwrap_or_else(Instant::now);
        let mut tries = 1;
        loop {
            match self.transaction(batch, &rooms, since).await {
                Err(Failure::Conflict | Failure::UniqueViolation) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn transaction(
        &mut self,
        batch: &mut [Command<D>],
        rooms: &[RoomId],
        since: Instant,
    ) -> Result<Vec<Arc<Event>>, Failure> {
        let result = self.steps(batch, rooms, since).await;
        if result.is_err() {
            self.database.rollback().await;
        }
        result
    }

    async fn steps(&mut self, batch: &mut [Command<D>], rooms: &[RoomId], since: Instant) -> Result<Vec<Arc<Event>>, Failure> {
        let takes_rights = batch.iter().any(|command| command.info().takes_rights());
        self.database.begin(rooms, takes_rights, since).await?;
        let effects = rules::carry_out(&mut self.database, batch, self.daily_bytes).await?;
        // Last of all, since every writer's control entries wait for this one from here on.
        if let Some(newest) = effects.control.iter().map(|(_, at)| *at).max() {
            self.database.add_control(&effects.control).await?;
            let kept = i64::try_from(CONTROL_KEPT.as_millis()).unwrap_or(i64::MAX);
            let before = Timestamp::from_millis(newest.as_millis().saturating_sub(kept));
            self.database.forget_control(before, CONTROL_SPARED, CONTROL_FORGOTTEN).await?;
        }
        self.database.commit().await?;
        Ok(effects.events)
    }
}

/// Answers that nothing of a batch was done.
fn refuse<D>(sink: &dyn CommitSink, mut batch: Vec<Command<D>>, reason: impl Into<Error> + Copy) {
    batch.iter_mut().for_each(|command| command.refuse(reason.into()));
    tell(sink, Vec::new(), batch);
}

/// However the writer ends, nobody waits for it in vain.
struct NoMore<D>(Arc<Queue<D>>, Arc<dyn CommitSink>);

impl<D> Drop for NoMore<D> {
    fn drop(&mut self) {
        self.0.close(Unavailable::StoreAway);
        refuse(&*self.1, self.0.abandon(), Unavailable::StoreAway);
    }
}
