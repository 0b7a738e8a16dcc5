//! The end of a listener.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections get to notice that they are cut off: they only have to be polled once more.
const CUT_OFF: Duration = Duration::from_secs(1);

/// A listener at work. Dropping it changes nothing: the token given to [`super::serve`] ends it.
#[derive(Debug)]
pub struct ListenerHandle {
    local_addr: SocketAddr,
    capacity: usize,
    shutdown: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl ListenerHandle {
    pub(super) fn new(
        local_addr: SocketAddr,
        capacity: usize,
        shutdown: CancellationToken,
        abort: CancellationToken,
        tasks: TaskTracker,
        ended: CancellationToken,
    ) -> Self {
        Self { local_addr, capacity, shutdown, abort, tasks, ended }
    }

    /// Where it listens, with the port that the system chose if none was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many connections it holds at most: as configured, or what the limit of open files leaves.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Resolves when nothing is accepted any more: it was told to stop, or has broken.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops accepting, if `shutdown` hasn't been cancelled already, and waits up to `within` for the HTTP connections
    /// to end; those that haven't are then cut off. Upgraded connections are not waited for. Whether all ended by
    /// themselves.
    pub async fn drained(&self, within: Duration) -> bool {
        self.shutdown.cancel();
        self.tasks.close();
        if timeout(within, self.tasks.wait()).await.is_ok() {
            return true;
        }
        tracing::warn!(left = self.tasks.len(), "cutting off HTTP connections that did not end in time");
        self.abort.cancel();
        let _ = timeout(CUT_OFF, self.tasks.wait()).await;
        false
    }
}
