//! Submits writes to the queue; the same for every database.

use std::sync::Arc;

use chatsphere_core::store::AnyWrite;
use chatsphere_core::{CommitSink, Error, Unavailable};
use tokio::sync::watch;

use super::command::{Command, notify};
use super::database::WriteDatabase;
use super::queue::Queue;

/// The handle that submits writes. When it is dropped, the writer executes the queued writes and ends.
pub(crate) struct Writes<D: WriteDatabase> {
    queue: Arc<Queue<D>>,
    /// The sink, which gets the rejections of writes with an [`AckTo`](chatsphere_core::store::AckTo).
    sink: Arc<dyn CommitSink>,
    /// This channel is closed when the writer has ended.
    ended: watch::Receiver<()>,
}

impl<D: WriteDatabase> Writes<D> {
    /// Makes a handle. `ended` must be closed when the writer has ended.
    pub(crate) fn new(queue: Arc<Queue<D>>, sink: Arc<dyn CommitSink>, ended: watch::Receiver<()>) -> Self {
        Self { queue, sink, ended }
    }

    /// Queues a write, or rejects it at once.
    pub(crate) fn submit(&self, write: AnyWrite) {
        if let Err((unavailable, mut command)) = self.queue.push(Command::new(write)) {
            command.refuse(unavailable.into());
            notify(&*self.sink, Vec::new(), vec![command]);
        }
    }

    /// Fails once the writer has ended, also by a panic, because nothing would ever be written.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.ended.has_changed().map(drop).map_err(|_| Unavailable::StoreAway.into())
    }

    /// Accepts no more writes, and returns when all queued writes are executed and the writer has ended.
    pub(crate) async fn close(&self) {
        self.queue.close(Unavailable::Stopping);
        self.ended().await;
    }

    /// Returns when the writer has ended.
    pub(crate) async fn ended(&self) {
        // The writer never sends a value; `changed` returns when the channel is closed.
        let _ = self.ended.clone().changed().await;
    }
}

impl<D: WriteDatabase> Drop for Writes<D> {
    fn drop(&mut self) {
        self.queue.close(Unavailable::Stopping);
    }
}
