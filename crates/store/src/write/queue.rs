//! The bounded queue before the writer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chatsphere_core::Outage;
use metrics::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::command::{Command, Reply, Request};
use crate::options::QueueBounds;

/// The most that one transaction takes. A longer transaction would gain little throughput and cost everyone in it latency.
const BATCH: QueueBounds = QueueBounds { writes: 1_000, bytes: 4 * 1024 * 1024 };

/// Writes that wait, in the order they came.
pub(crate) struct Queue {
    bounds: QueueBounds,
    waiting: Mutex<Waiting>,
    ready: Notify,
    length: Gauge,
}

struct Waiting {
    commands: VecDeque<Command>,
    bytes: usize,
    /// What a new write is told once no more are taken.
    closed: Option<Outage>,
}

impl Queue {
    pub(crate) fn new(bounds: QueueBounds, length: Gauge) -> Self {
        let waiting = Waiting { commands: VecDeque::new(), bytes: 0, closed: None };
        Self { bounds, waiting: Mutex::new(waiting), ready: Notify::new(), length }
    }

    /// Lets a write wait for its turn, or answers at once that it can't.
    pub(crate) fn push(&self, request: Request, reply: Reply) {
        match self.try_push(Command { request, reply, since: Instant::now() }) {
            Ok(()) => self.ready.notify_one(),
            Err((outage, command)) => command.reply.send(Err(outage.into())),
        }
    }

    #[allow(clippy::result_large_err, reason = "moved once, on the way to its refusal")]
    fn try_push(&self, command: Command) -> Result<(), (Outage, Command)> {
        let mut waiting = self.lock();
        if let Some(outage) = waiting.closed {
            return Err((outage, command));
        }
        let bytes = command.request.bytes();
        if waiting.commands.len() >= self.bounds.writes || waiting.bytes.saturating_add(bytes) > self.bounds.bytes {
            return Err((Outage::QueueFull, command));
        }
        waiting.bytes += bytes;
        waiting.commands.push_back(command);
        self.told(&waiting);
        Ok(())
    }

    /// All that waits, as much as one transaction takes. `None` once the queue is closed and empty.
    pub(crate) async fn take(&self) -> Option<Vec<Command>> {
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
            // A push between the look and this wait leaves a permit behind, so none is missed.
            self.ready.notified().await;
        }
    }

    fn batch(&self, waiting: &mut Waiting) -> Vec<Command> {
        let mut bytes = 0;
        let fits = |command: &&Command| {
            bytes += command.request.bytes();
            bytes <= BATCH.bytes
        };
        let count = waiting.commands.iter().take(BATCH.writes).take_while(fits).count().max(1);
        let batch: Vec<Command> = waiting.commands.drain(..count).collect();
        waiting.bytes -= batch.iter().map(|command| command.request.bytes()).sum::<usize>();
        self.told(waiting);
        batch
    }

    /// Takes no more; what waits is still carried out. Later writes are told `outage`.
    pub(crate) fn close(&self, outage: Outage) {
        self.lock().closed.get_or_insert(outage);
        self.ready.notify_one();
    }

    /// Drops what waits, for a writer that can't go on.
    pub(crate) fn abandon(&self) -> Vec<Command> {
        let mut waiting = self.lock();
        waiting.bytes = 0;
        waiting.commands.drain(..).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a queue is never near 2^52 long")]
    fn told(&self, waiting: &Waiting) {
        self.length.set(waiting.commands.len() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under the lock half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::store::{Actor, Pending, Revocation};
    use chatsphere_core::{Error, Timestamp, TokenId};

    use super::*;

    fn queue(writes: usize, bytes: usize) -> Queue {
        Queue::new(QueueBounds { writes, bytes }, Gauge::noop())
    }

    fn push(queue: &Queue) -> Pending<()> {
        let (sender, pending) = Pending::new();
        let at = Timestamp::from_millis(1);
        queue.push(
            Request::RevokeToken(Revocation { token: TokenId::new(at), actor: Actor::Operator, at }),
            Reply::Revoked(sender),
        );
        pending
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_at_once() {
        let by_count = queue(2, usize::MAX);
        let _held = [push(&by_count), push(&by_count)];
        assert_eq!(push(&by_count).await, Err(Error::Outage(Outage::QueueFull)));
        assert_eq!(by_count.take().await.map(|batch| batch.len()), Some(2));
        let _fits_again = push(&by_count);
        assert_eq!(by_count.take().await.map(|batch| batch.len()), Some(1));

        let by_bytes = queue(usize::MAX, size_of::<Command>());
        let _held = push(&by_bytes);
        assert_eq!(push(&by_bytes).await, Err(Error::Outage(Outage::QueueFull)));
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_waits_and_takes_no_more() {
        let queue = queue(10_000, usize::MAX);
        let _held: Vec<_> = (0..BATCH.writes + 1).map(|_| push(&queue)).collect();
        queue.close(Outage::Stopping);
        assert_eq!(push(&queue).await, Err(Error::Outage(Outage::Stopping)));
        assert_eq!(queue.take().await.map(|batch| batch.len()), Some(BATCH.writes));
        assert_eq!(queue.take().await.map(|batch| batch.len()), Some(1));
        assert!(queue.take().await.is_none());
    }
}
