//! How a server ends: what is under way is finished, in order, within the time there is.

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

/// Kept for the store: what was accepted must still reach the disk.
const FOR_THE_STORE: Duration = Duration::from_secs(2);
/// Kept for the database's own file, once everything is on disk.
const FOR_THE_FILE: Duration = Duration::from_secs(1);
/// How much nicer than others a thread is that comes after them: beside one of them on a processor it still gets a quarter.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;
/// What the listener takes beyond its time to cut off those that did not end.
const CUT_OFF: Duration = Duration::from_secs(1);

/// Everything that has to end, in this order.
pub(crate) struct Parts {
    /// Cancelled first: not ready any more, nothing more is accepted, sockets are told to go.
    /// A server that is dropped without being stopped gets as far as this.
    pub(crate) stopping: DropGuard,
    pub(crate) listener: ListenerHandle,
    /// Every socket's task.
    pub(crate) sockets: TaskTracker,
    /// What runs beside them, for ever.
    pub(crate) background: Background,
    pub(crate) chat: Arc<AppContext>,
    pub(crate) database: DatabaseUrl,
    pub(crate) lock: InstallationLock,
}

impl Parts {
    /// Ends all of it. Whether every write that was accepted is on disk.
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

/// Closes the database's connections, so that its file alone holds everything. Where that takes too long nothing is lost.
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

/// Tasks that run until the server ends, and have nothing to finish. The server is of no use without any of them: one that
/// panics is told by [`Background::broken`].
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
        let (end, watch) = (self.end.clone(), Watch(self.broken.clone()));
        self.tasks.spawn(async move {
            let _watch = watch;
            end.run_until_cancelled(task).await;
        });
    }

    /// A task on a thread of its own, for one that writes for milliseconds on end. Among the runtime's workers it would be
    /// passed from one to the other, and all that it touches with it. Has to end by itself when [`Background::ended`] says so.
    pub(crate) fn thread<T>(&self, name: &str, urgency: Urgency, task: impl FnOnce() -> T + Send + 'static) -> io::Result<()>
    where
        T: Future<Output = ()>,
    {
        let (tell, started) = std::sync::mpsc::channel();
        let watch = Watch(self.broken.clone());
        // The runtime is made, and dropped, on its own thread: within another runtime it must not be.
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => {
                drop(tell);
                let _watch = watch;
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

    /// Cancelled once one of them has panicked.
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
    /// A server that is dropped without being stopped leaves nothing running.
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// How a thread stands to the others where there are fewer processors than work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    AsOthers,
    /// It has much to do, and whoever has little should not wait for it.
    After,
}

/// Elsewhere than on Linux this would be of the whole process.
fn come_after_others() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}

/// Tells if it is dropped by a panic.
struct Watch(CancellationToken);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Not ready from the moment the server begins to stop.
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
    async fn a_panic_in_the_background_is_told() {
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
