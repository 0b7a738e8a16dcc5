//! Executes the plan step by step, and waits for its completion.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::faults::Faults;
use super::history;
use super::plan::Plan;
use super::stage::Stage;
use super::steps::{Op, Step};
use super::steward::ToChange;
use crate::judge::record::{DeviceRecord, Record};
use crate::progress::Progress;
use chatsphere_bench::error::RunError;

/// Polling interval.
const LOOK: Duration = Duration::from_millis(50);
/// Interval of checks whether the server still runs.
const SLOW: Duration = Duration::from_secs(2);
/// Timeout for filling a queue.
const FILL: Duration = Duration::from_secs(20);
/// Timeout for one step to be accepted.
const STUCK: Duration = Duration::from_secs(120);

pub(crate) struct Director {
    pub(crate) stage: Stage,
    pub(crate) faults: Faults,
    /// Time for the clients to finish at the end.
    pub(crate) patience: Duration,
}

impl Director {
    /// Executes the whole plan and returns the record.
    pub(crate) async fn run(&mut self, mut plan: Plan, progress: &mut Progress) -> Result<Record, RunError> {
        for device in 0..self.stage.devices.len() {
            for room in plan.rooms_of(device) {
                self.tell(device, Op::Join { room }).await?;
            }
        }
        for step in plan.by_ref() {
            progress.step(&self.stage.recorder, self.faults.kills);
            self.step(step).await?;
        }
        progress.say("waiting for the last events");
        self.finish(&plan).await
    }

    async fn step(&mut self, step: Step) -> Result<(), RunError> {
        match step {
            Step::Devices(ops) => {
                for (device, op) in ops {
                    self.tell(device, op).await?;
                }
            }
            Step::Change { room, user, adds, by_itself } => {
                let (Some(kept), Some(id)) = (self.stage.rooms.get(room), self.stage.users.get(user).map(|user| user.id))
                else {
                    return Ok(());
                };
                let itself = by_itself.then(|| self.stage.rests.get(user).cloned()).flatten();
                let changes = kept.changes.clone();
                hand(&changes, ToChange { user, id, adds, itself }, &mut self.faults, || format!("the changes of room {room}"))
                    .await?;
            }
            Step::Kill { again_after } => self.faults.kill(again_after).await?,
            Step::StopDatabase { away } => self.faults.stop_database(away).await?,
            Step::Stall { sleeper, room, messages } => {
                self.faults.recovered().await?;
                self.tell(sleeper, Op::Join { room }).await?;
                self.tell(sleeper, Op::Sleep).await?;
                for (device, op) in messages {
                    self.tell(device, op).await?;
                }
                // Not later, because a server that cannot send its close frame gives up after two seconds.
                self.wait(FILL, |director| director.is_quiet(sleeper)).await;
                self.tell(sleeper, Op::Wake).await?;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, device: usize, op: Op) -> Result<(), RunError> {
        let Some(ops) = self.stage.devices.get(device).map(|device| device.ops.clone()) else { return Ok(()) };
        hand(&ops, op, &mut self.faults, || format!("client {device}")).await
    }

    async fn finish(&mut self, plan: &Plan) -> Result<Record, RunError> {
        self.faults.recovered().await?;
        let mut ids = Vec::new();
        for kept in self.stage.rooms.drain(..) {
            ids.push(kept.id);
            drop(kept.changes);
            let ended = timeout(STUCK, kept.task).await;
            let stuck = || RunError::Unexpected("a change of members could not be made".to_owned());
            ended.map_err(|_| stuck())?.map_err(|_| stuck())??;
        }
        for device in 0..self.stage.devices.len() {
            self.tell(device, Op::Finish { rooms: plan.rooms_of(device) }).await?;
        }
        self.wait(self.patience, Self::is_answered).await;
        let mut rooms = Vec::new();
        for id in ids {
            rooms.push(history::read(&self.stage.client, id).await?);
        }
        let heads: Vec<u64> = rooms.iter().map(|room| room.told_seq).collect();
        self.wait(self.patience, |director| {
            director.stage.devices.iter().enumerate().all(|(number, device)| {
                let status = device.status.borrow();
                plan.rooms_of(number)
                    .into_iter()
                    .all(|room| status.listening.get(room) == Some(&true) && status.cursors.get(room) >= heads.get(room))
            })
        })
        .await;
        let mut devices = Vec::new();
        for (number, device) in self.stage.devices.drain(..).enumerate() {
            drop(device.ops);
            let stop = device.task.abort_handle();
            if timeout(SLOW, device.task).await.is_err() {
                stop.abort();
            }
            let (user, to_the_end) = (plan.user_of(number), plan.rooms_of(number));
            devices.push(DeviceRecord { user, seen: self.stage.recorder.take_seen(number), to_the_end });
        }
        let users = self.stage.users.iter().map(|user| user.id).collect();
        Ok(Record { users, rooms, devices, changes: self.stage.recorder.take_changes() })
    }

    /// Whether all other clients are idle.
    fn is_quiet(&self, sleeper: usize) -> bool {
        let mut others = self.stage.devices.iter().enumerate().filter(|(number, _)| *number != sleeper);
        others.all(|(_, device)| device.ops.capacity() == device.ops.max_capacity() && device.status.borrow().unanswered == 0)
    }

    /// Whether everything was sent and answered.
    fn is_answered(&self) -> bool {
        // Finishing is the last operation, so a client that does it has completed everything before.
        let mut statuses = self.stage.devices.iter().map(|device| device.status.borrow());
        statuses.all(|status| status.finishing && status.unanswered == 0) && self.stage.posting.count() == 0
    }

    /// Waits for a condition, up to a limit. The judge finds what is missing then.
    async fn wait(&self, limit: Duration, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + limit;
        while Instant::now() < until && !is_so(self) {
            sleep(LOOK).await;
        }
    }
}

/// Sends an operation, and handles faults while the receiver is slow.
async fn hand<T>(to: &mpsc::Sender<T>, what: T, faults: &mut Faults, whom: impl Fn() -> String) -> Result<(), RunError> {
    let until = Instant::now() + STUCK;
    while Instant::now() < until {
        match timeout(SLOW, to.reserve()).await {
            Ok(Ok(permit)) => {
                permit.send(what);
                return Ok(());
            }
            Ok(Err(_)) => return Err(RunError::Unexpected(format!("{} ended", whom()))),
            Err(_) => faults.recovered().await?,
        }
    }
    Err(RunError::Unexpected(format!("{} got nothing done for {} s: is the server stuck?", whom(), STUCK.as_secs())))
}
