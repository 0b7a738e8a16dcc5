//! The shutdown of a server: work in progress is completed in order, within the available time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::AppContext;
use chatsphere_net::listener::ListenerHandle;
use chatsphere_store::DatabaseUrl;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::http::Readiness;
use crate::lock::InstallationLock;

/// Time reserved for the store, because accepted writes must still reach the disk.
const FOR_THE_STORE: Duration = Duration::from_secs(2);
/// Time reserved for closing the database file, after all writes.
const FOR_THE_FILE: Duration = Duration::from_secs(1);
/// The niceness of low-priority threads: beside a normal thread on the same CPU they still get a quarter.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;
/// Extra time of the listener for aborting the remaining connections.
const CUT_OFF: Duration = Duration::from_secs(1);

/// The parts of a server that must be shut down, in this order.
pub(crate) struct Parts {
    /// Dropped first: the node becomes unready, accepts nothing more, and closes its sockets. Dropping a server without a
    /// shutdown does only this.
    pub(crate) stopping: DropGuard,
    pub(crate) listener: ListenerHandle,
    /// The tasks of all sockets.
    pub(crate) sockets: TaskTracker,
    /// Tasks that run until the end.
    pub(crate) background: Background,
    pub(crate) chat: Arc<AppContext>,
    pub(crate) database: DatabaseUrl,
    pub(crate) lock: InstallationLock,
}

impl Parts {
    /// Shuts everything down. Returns whether every accepted write is on disk.
    pub(crate) async fn end(self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let patience = within.saturating_sub(FOR_THE_STORE.min(within / 2) + CUT_OFF);
        drop(self.stopping);
        self.sockets.close();
        let (requests_ended, sockets_ended) =
            tokio::join!(self.listener.drained(patience), timeout(patience, self.sockets.wait()));
        if sockets_ended.is_err() {
            tracing::warn!(left = self.sockets.len(), "sockets did not end in time");
        }
        self.background.end();
        let stored = timeout_at(deadline, self.chat.store.close()).await.is_ok();
        if stored {
            settle(&self.chat, &self.database, deadline).await;
            tracing::info!(requests_ended, sockets_ended = sockets_ended.is_ok(), "stopped");
        } else {
            tracing::error!("the database did not take the last writes in time; those were not acknowledged");
        }
        drop(self.lock);
        stored
    }
}

/// Closes the database's connections, so that its file is complete without a log. A timeout loses nothing.
async fn settle(chat: &AppContext, database: &DatabaseUrl, deadline: Instant) {
    let settled = timeout_at(deadline.max(Instant::now() + FOR_THE_FILE), async {
        chat.store.closed().await;
        chatsphere_store::empty_log(database).await
    });
    let reason = match settled.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    tracing::warn!(
        reason,
        "the newest messages are still in the file beside the database that ends with -wal; keep the two together"
    );
}

/// Tasks that run until the server ends and have nothing to complete. The server needs all of them: a panic is reported by
/// [`Background::broken`].
pub(crate) struct Background {
    tasks: TaskTracker,
    end: CancellationToken,
    broken: CancellationToken,
}

impl Background {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), end: CancellationToken::new(), broken: CancellationToken::new() }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (end, guard) = (self.end.clone(), PanicGuard(self.broken.clone()));
        self.tasks.spawn(async move {
            let _guard = guard;
            end.run_until_cancelled(task).await;
        });
    }

    /// Runs a task on a thread of its own, for work that takes milliseconds at a time. The runtime's workers would pass such a
    /// task, and its cache contents, between CPUs. The task must end when [`Background::ended`] is cancelled.
    pub(crate) fn thread<T>(&self, name: &str, urgency: Urgency, task: impl FnOnce() -> T + Send + 'static) -> io::Result<()>
    where
        T: Future<Output = ()>,
    {
        let (tell, started) = std::sync::mpsc::channel();
        let guard = PanicGuard(self.broken.clone());
        // The runtime is created and dropped on its own thread, which is forbidden inside another runtime.
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => {
                drop(tell);
                let _guard = guard;
                if urgency == Urgency::After {
                    come_after_others();
                }
                runtime.block_on(task());
            }
            Err(error) => drop(tell.send(error)),
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        started.recv().map_or(Ok(()), Err)
    }

    /// Cancelled once a task has panicked.
    pub(crate) fn broken(&self) -> CancellationToken {
        self.broken.clone()
    }

    pub(crate) fn ended(&self) -> CancellationToken {
        self.end.clone()
    }

    fn end(&self) {
        self.end.cancel();
    }
}

impl Drop for Background {
    /// Dropping a server without a shutdown stops its background tasks.
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// The priority of a thread when CPUs are scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    AsOthers,
    /// A thread with much work, which must not delay those with little.
    After,
}

/// On other systems the niceness would apply to the whole process.
fn come_after_others() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}

/// Reports when a panic drops it.
struct PanicGuard(CancellationToken);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Readiness that ends when the server begins to stop.
pub(crate) struct UntilStopping(pub(crate) CancellationToken);

impl Readiness for UntilStopping {
    fn is_draining(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_background_is_reported() {
        let background = Background::new();
        background.spawn(async {});
        background.thread("whole", Urgency::After, || async {}).unwrap();
        assert!(!background.broken().is_cancelled());
        background.spawn(async { panic!("as planned") });
        background.broken().cancelled().await;

        let background = Background::new();
        background.thread("breaks", Urgency::AsOthers, || async { panic!("as planned") }).unwrap();
        background.broken().cancelled().await;
    }
}
