//! The one writer of a node: takes all that waits, commits it as one transaction, tells the sink, then answers.

use std::sync::Arc;

use chatsphere_core::store::{Answered, CONTROL_KEPT};
use chatsphere_core::{CommitSink, Committed, Error, Outage, RoomId, Timestamp};
use metrics::Histogram;
use tokio::time::Instant;

use super::command::{Answer, Command, Reply, Request, as_message};
use super::database::WriteDatabase;
use super::failure::Failure;
use super::queue::Queue;
use super::rules::{self, Effects};
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
    pub(crate) queue: Arc<Queue>,
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
        let _no_more = NoMore(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.take().await {
            self.carry_out(batch).await;
        }
    }

    /// Commits a batch, as one transaction if it can be. A batch that the database refuses is halved until the write that it
    /// can't take stands alone, so that the others don't fail with it.
    async fn carry_out(&mut self, batch: Vec<Command>) {
        let mut parts = vec![self.admit(batch).await];
        let mut reliefs = RELIEFS;
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let started = Instant::now();
            match self.commit(&part).await {
                Ok((committed, answers)) => {
                    self.commit_seconds.record(started.elapsed());
                    self.tell(committed, part, answers);
                }
                Err(Failure::Rejected | Failure::Taken | Failure::Crossed) if part.len() > 1 => {
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
                        for command in rest {
                            command.reply.send(Err(Failure::DiskFull.into()));
                        }
                    }
                }
                Err(failure) => {
                    for command in part {
                        command.reply.send(Err(failure.into()));
                    }
                }
            }
        }
    }

    /// What of a batch may be carried out at the moment.
    async fn admit(&mut self, batch: Vec<Command>) -> Vec<Command> {
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
    fn refuse_growth(&self, batch: Vec<Command>) -> Vec<Command> {
        let (growing, rest) = batch.into_iter().partition(|command: &Command| command.request.grows());
        for Command { reply, .. } in growing {
            self.space.refused();
            reply.send(Err(Failure::DiskFull.into()));
        }
        rest
    }

    async fn commit(&mut self, batch: &[Command]) -> Result<(Committed, Vec<Result<Answer, Error>>), Failure> {
        let requests: Vec<&Request> = batch.iter().map(|command| &command.request).collect();
        let mut rooms: Vec<RoomId> = requests.iter().filter_map(|request| request.room()).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let since = batch.iter().map(|command| command.since).min().unwrap_or_else(Instant::now);
        let mut tries = 1;
        loop {
            match self.transaction(&requests, &rooms, since).await {
                Err(Failure::Crossed | Failure::Taken) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn transaction(
        &mut self,
        requests: &[&Request],
        rooms: &[RoomId],
        since: Instant,
    ) -> Result<(Committed, Vec<Result<Answer, Error>>), Failure> {
        let result = self.steps(requests, rooms, since).await;
        if result.is_err() {
            self.database.rollback().await;
        }
        result
    }

    async fn steps(
        &mut self,
        requests: &[&Request],
        rooms: &[RoomId],
        since: Instant,
    ) -> Result<(Committed, Vec<Result<Answer, Error>>), Failure> {
        let takes_rights = requests.iter().any(|request| request.takes_rights());
        self.database.begin(rooms, takes_rights, since).await?;
        let mut effects = Effects::default();
        let answers = rules::carry_out(&mut self.database, requests, self.daily_bytes, &mut effects).await?;
        // Last of all, since every writer's control entries wait for this one from here on.
        if let Some(newest) = effects.control.iter().map(|(_, at)| *at).max() {
            self.database.add_control(&effects.control).await?;
            let kept = i64::try_from(CONTROL_KEPT.as_millis()).unwrap_or(i64::MAX);
            let before = Timestamp::from_millis(newest.as_millis().saturating_sub(kept));
            self.database.forget_control(before, CONTROL_SPARED, CONTROL_FORGOTTEN).await?;
        }
        self.database.commit().await?;
        Ok((Committed { events: effects.events, answers: Vec::new() }, answers))
    }

    /// Tells the sink first, then those who wait for themselves.
    fn tell(&self, mut committed: Committed, batch: Vec<Command>, answers: Vec<Result<Answer, Error>>) {
        let mut replies = Vec::new();
        for (Command { request, reply, .. }, answer) in batch.into_iter().zip(answers) {
            match (reply, request.room()) {
                (Reply::Told(to), Some(room_id)) => {
                    committed.answers.push(Answered { room_id, to, outcome: as_message(answer) });
                }
                (reply, _) => replies.push((reply, answer)),
            }
        }
        if !committed.events.is_empty() {
            #[allow(clippy::cast_precision_loss, reason = "a batch is never near 2^52 long")]
            self.batch_messages.record(committed.events.len() as f64);
        }
        if !committed.events.is_empty() || !committed.answers.is_empty() {
            self.sink.committed(committed);
        }
        for (reply, answer) in replies {
            reply.send(answer);
        }
    }
}

/// However the writer ends, nobody waits for it in vain.
struct NoMore(Arc<Queue>);

impl Drop for NoMore {
    fn drop(&mut self) {
        self.0.close(Outage::StoreAway);
        for command in self.0.abandon() {
            command.reply.send(Err(Outage::StoreAway.into()));
        }
    }
}
