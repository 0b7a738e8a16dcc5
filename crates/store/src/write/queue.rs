//! The bounded queue before the writer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chatsphere_core::Unavailable;
use metrics::Gauge;
use tokio::sync::Notify;

use super::command::Command;
use crate::options::QueueBounds;

/// The bounds of one transaction. A longer transaction would gain little throughput, and delay all its writes.
const BATCH: QueueBounds = QueueBounds { writes: 1_000, bytes: 4 * 1024 * 1024 };

/// The queued writes, in the order of their submission.
pub(crate) struct Queue<D> {
    bounds: QueueBounds,
    waiting: Mutex<Waiting<D>>,
    ready: Notify,
    length: Gauge,
}

struct Waiting<D> {
    commands: VecDeque<Command<D>>,
    bytes: usize,
    /// The error for new writes, once the queue is closed.
    closed: Option<Unavailable>,
}

impl<D> Queue<D> {
    pub(crate) fn new(bounds: QueueBounds, length: Gauge) -> Self {
        let waiting = Waiting { commands: VecDeque::new(), bytes: 0, closed: None };
        Self { bounds, waiting: Mutex::new(waiting), ready: Notify::new(), length }
    }

    /// Queues a write, or returns it at once with the reason why it can't.
    #[allow(clippy::result_large_err, reason = "moved once, on the way to its refusal")]
    pub(crate) fn push(&self, command: Command<D>) -> Result<(), (Unavailable, Command<D>)> {
        let mut waiting = self.lock();
        if let Some(unavailable) = waiting.closed {
            return Err((unavailable, command));
        }
        let bytes = command.bytes();
        if waiting.commands.len() >= self.bounds.writes || waiting.bytes.saturating_add(bytes) > self.bounds.bytes {
            return Err((Unavailable::QueueFull, command));
        }
        waiting.bytes += bytes;
        waiting.commands.push_back(command);
        self.told(&waiting);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for writes and takes as many as one transaction may have. Returns `None` once the queue is closed and empty.
    pub(crate) async fn take(&self) -> Option<Vec<Command<D>>> {
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.commands.is_empty() {
                    return Some(self.batch(&mut waiting));
                }
                if waiting.closed.is_some() {
                    return None;
                }
            }
            // A push between the check and this wait leaves a permit, so no write is missed.
            self.ready.notified().await;
        }
    }

    fn batch(&self, waiting: &mut Waiting<D>) -> Vec<Command<D>> {
        let mut bytes = 0;
        let fits = |command: &&Command<D>| {
            bytes += command.bytes();
            bytes <= BATCH.bytes
        };
        let count = waiting.commands.iter().take(BATCH.writes).take_while(fits).count().max(1);
        let batch: Vec<Command<D>> = waiting.commands.drain(..count).collect();
        waiting.bytes -= batch.iter().map(Command::bytes).sum::<usize>();
        self.told(waiting);
        batch
    }

    /// Accepts no more writes; the queued ones are still executed. Later writes get `unavailable`.
    pub(crate) fn close(&self, unavailable: Unavailable) {
        self.lock().closed.get_or_insert(unavailable);
        self.ready.notify_one();
    }

    /// Removes the queued writes, for a writer that can't continue.
    pub(crate) fn abandon(&self) -> Vec<Command<D>> {
        let mut waiting = self.lock();
        waiting.bytes = 0;
        waiting.commands.drain(..).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a queue is never near 2^52 long")]
    fn told(&self, waiting: &Waiting<D>) {
        self.length.set(waiting.commands.len() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<D>> {
        // The mutex can't be poisoned in an inconsistent state: no code that can panic runs in the middle of a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::store::{Actor, Reply, Revocation, Write};
    use chatsphere_core::{Timestamp, TokenId};

    use super::*;
    use crate::sqlite::SqliteWriter;

    fn queue(writes: usize, bytes: usize) -> Queue<SqliteWriter> {
        Queue::new(QueueBounds { writes, bytes }, Gauge::noop())
    }

    /// Pushes a message. Returns why it is rejected, if it is.
    fn push(queue: &Queue<SqliteWriter>) -> Option<Unavailable> {
        let at = Timestamp::from_millis(1);
        let write = Revocation { token: TokenId::new(at), actor: Actor::Operator, at };
        let command = Command::new(write.with_reply(Reply::Pending(tokio::sync::oneshot::channel().0)));
        queue.push(command).err().map(|(unavailable, _)| unavailable)
    }

    #[tokio::test]
    async fn a_full_queue_rejects_at_once() {
        let by_count = queue(2, usize::MAX);
        assert_eq!([push(&by_count), push(&by_count), push(&by_count)], [None, None, Some(Unavailable::QueueFull)]);
        assert_eq!(by_count.take().await.map(|batch| batch.len()), Some(2));
        assert_eq!(push(&by_count), None);
        assert_eq!(by_count.take().await.map(|batch| batch.len()), Some(1));

        let by_bytes = queue(usize::MAX, size_of::<Command<SqliteWriter>>());
        assert_eq!([push(&by_bytes), push(&by_bytes)], [None, Some(Unavailable::QueueFull)]);
    }

    #[tokio::test]
    async fn a_closed_queue_is_drained_and_accepts_no_more() {
        let queue = queue(10_000, usize::MAX);
        assert!((0..BATCH.writes + 1).all(|_| push(&queue).is_none()));
        queue.close(Unavailable::Stopping);
        assert_eq!(push(&queue), Some(Unavailable::Stopping));
        assert_eq!(queue.take().await.map(|batch| batch.len()), Some(BATCH.writes));
        assert_eq!(queue.take().await.map(|batch| batch.len()), Some(1));
        assert!(queue.take().await.is_none());
    }
}
