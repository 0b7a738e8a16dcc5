//! The one writer of a node. It takes all queued writes, commits them as one transaction, notifies the sink, then answers.

use std::sync::Arc;

use chatsphere_core::store::CONTROL_KEPT;
use chatsphere_core::{CommitSink, Error, Event, RoomId, Timestamp, Unavailable};
use metrics::Histogram;
use tokio::time::Instant;

use super::command::{Command, notify};
use super::database::WriteDatabase;
use super::failure::Failure;
use super::queue::Queue;
use super::rules;
use crate::space::Space;

/// How often a batch is tried if it conflicts with other writers.
const TRIES: u32 = 4;
/// How often a batch is tried if there is no space for writes that must succeed.
const RELIEFS: u32 = 2;
/// The newest entries of the control log are kept whatever their age, because a node with a wrong clock must not remove entries
/// that others have yet to read.
const CONTROL_SPARED: u64 = 1_000;
/// The number of entries of the control log that one transaction checks for removal.
const CONTROL_FORGOTTEN: usize = 500;

/// Executes the writes of a queue, until the queue is closed and empty.
pub(crate) struct Writer<D> {
    pub(crate) database: D,
    pub(crate) queue: Arc<Queue<D>>,
    pub(crate) sink: Arc<dyn CommitSink>,
    /// The state of the disk.
    pub(crate) space: Arc<Space>,
    /// Whether there was little space at the last batch, and it was tried to free some.
    pub(crate) was_low: bool,
    /// The bytes that a user may store in a day; 0 is no limit.
    pub(crate) daily_bytes: u64,
    /// The metric of messages per commit.
    pub(crate) batch_messages: Histogram,
    /// The metric of seconds from taking a batch to its commit.
    pub(crate) commit_seconds: Histogram,
}

impl<D: WriteDatabase> Writer<D> {
    pub(crate) async fn run(mut self) {
        let _no_more = NoMore(Arc::clone(&self.queue), Arc::clone(&self.sink));
        while let Some(batch) = self.queue.take().await {
            self.carry_out(batch).await;
        }
    }

    /// Commits a batch, as one transaction if possible. A batch that the database rejects is halved until the bad write is
    /// alone, so that the others do not fail with it.
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
                    notify(&*self.sink, events, part);
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

    /// Returns the writes of a batch that may be executed now.
    async fn admit(&mut self, batch: Vec<Command<D>>) -> Vec<Command<D>> {
        if !self.space.is_low() {
            self.was_low = false;
            return batch;
        }
        if !self.was_low {
            // Freeing space needs some space itself, so this is done early. It may fail while somebody reads or copies.
            self.was_low = self.database.relieve(false).await;
        }
        self.refuse_growth(batch)
    }

    /// Rejects the writes that let the database grow, and returns the others.
    fn refuse_growth(&self, batch: Vec<Command<D>>) -> Vec<Command<D>> {
        let (growing, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|command| command.info().grows());
        growing.iter().for_each(|_| self.space.refused());
        refuse(&*self.sink, growing, Failure::DiskFull);
        rest
    }

    /// Commits the batch, and returns the events that it added.
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
        // This comes last, because from here on every other writer's control entries wait for this transaction.
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

/// Rejects all writes of a batch.
fn refuse<D>(sink: &dyn CommitSink, mut batch: Vec<Command<D>>, reason: impl Into<Error> + Copy) {
    batch.iter_mut().for_each(|command| command.refuse(reason.into()));
    notify(sink, Vec::new(), batch);
}

/// Closes the queue and rejects its writes when the writer ends, also by a panic, so that no caller waits forever.
struct NoMore<D>(Arc<Queue<D>>, Arc<dyn CommitSink>);

impl<D> Drop for NoMore<D> {
    fn drop(&mut self) {
        self.0.close(Unavailable::StoreAway);
        refuse(&*self.1, self.0.abandon(), Unavailable::StoreAway);
    }
}
