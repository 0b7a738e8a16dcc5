use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::RunError;

/// The niceness of these threads.
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

/// Threads for the load of the loud room. They stand in for other machines, which would not use the server's CPUs: here they
/// use what the server and the quiet room's clients leave.
pub(super) struct Elsewhere {
    handle: Handle,
    /// `None` after the drop.
    runtime: Option<Runtime>,
}

impl Elsewhere {
    pub(super) fn start() -> Result<Self, RunError> {
        let begin = || {
            // On other systems the niceness would apply to the whole process.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICE);
        };
        let runtime = Builder::new_multi_thread().enable_all().on_thread_start(begin).build();
        let runtime = runtime.map_err(|source| RunError::Io { what: "starting threads", source })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a task on these threads and waits for its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, RunError>> + Send + 'static,
    ) -> Result<T, RunError> {
        self.handle.spawn(task).await.map_err(|error| RunError::Unexpected(error.to_string()))?
    }
}

/// Gives up the CPU for a moment. Other machines would not use it at all, and the kernel preempts a busy thread only at its
/// ticks, up to 4 ms apart.
pub(super) fn let_go() {
    std::thread::sleep(Duration::from_micros(20));
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // A blocking shutdown is not allowed inside another runtime.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}
