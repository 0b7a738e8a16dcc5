//! The shutdown of a listener.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time for aborted connections to end: their tasks only need one more poll.
const CUT_OFF: Duration = Duration::from_secs(1);

/// A handle of a running listener. Dropping it does not stop the listener; the token given to [`super::serve`] does.
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

    /// The local address, with the port that the system chose if none was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Maximum number of connections: as configured, or fewer if the limit of open files requires it.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Resolves when the listener accepts no more connections: it was shut down, or has failed.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops accepting, if `shutdown` is not cancelled yet, and waits up to `within` for the HTTP connections to end; the
    /// remaining ones are aborted. Does not wait for upgraded connections. Returns whether all ended by themselves.
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
