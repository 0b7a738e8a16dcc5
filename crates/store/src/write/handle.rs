//! Submits writes to the queue; the same for every database.

use std::sync::Arc;

use chatsphere_core::store::AnyWrite;
use chatsphere_core::{CommitSink, Error, Unavailable};
use tokio::sync::watch;

use super::command::{Command, tell};
use super::database::WriteDatabase;
use super::queue::Queue;

/// The queue's open end. Dropping it lets the writer finish what waits and end.
pub(crate) struct Writes<D: WriteDatabase> {
    queue: Arc<Queue<D>>,
    /// Called for refusals that are to be acknowledged.
    sink: Arc<dyn CommitSink>,
    /// Closed when the writer has ended.
    ended: watch::Receiver<()>,
}

impl<D: WriteDatabase> Writes<D> {
    /// `ended` must be closed when the writer has ended.
    pub(crate) fn new(queue: Arc<Queue<D>>, sink: Arc<dyn CommitSink>, ended: watch::Receiver<()>) -> Self {
        Self { queue, sink, ended }
    }

    /// Lets a write wait for its turn, or refuses it at once.
    pub(crate) fn submit(&self, write: AnyWrite) {
        if let Err((unavailable, mut command)) = self.queue.push(Command::new(write)) {
            command.refuse(unavailable.into());
            tell(&*self.sink, Vec::new(), vec![command]);
        }
    }

    /// Fails once the writer has ended, be it by a panic: nothing would ever be written again.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.ended.has_changed().map(drop).map_err(|_| Unavailable::StoreAway.into())
    }

    /// Takes no more, and returns when all that waits has been carried out and the writer has ended.
    pub(crate) async fn close(&self) {
        self.queue.close(Unavailable::Stopping);
        self.ended().await;
    }

    /// Returns when the writer has ended.
    pub(crate) async fn ended(&self) {
        // It never sends; the only change is its end.
        let _ = self.ended.clone().changed().await;
    }
}

impl<D: WriteDatabase> Drop for Writes<D> {
    fn drop(&mut self) {
        self.queue.close(Unavailable::Stopping);
    }
}
