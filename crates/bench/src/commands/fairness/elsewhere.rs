use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::RunError;

/// How much nicer its threads are than all others.
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

/// Threads for the loud ones. They stand for other machines, whose work would take nothing of the server's processors: here it
/// takes what the server and the quiet room's clients leave.
pub(super) struct Elsewhere {
    handle: Handle,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

impl Elsewhere {
    pub(super) fn start() -> Result<Self, RunError> {
        let begin = || {
            // Elsewhere this would be of the whole process.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICE);
        };
        let runtime = Builder::new_multi_thread().enable_all().on_thread_start(begin).build();
        let runtime = runtime.map_err(|source| RunError::Io { what: "starting threads", source })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Does something there and waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, RunError>> + Send + 'static,
    ) -> Result<T, RunError> {
        self.handle.spawn(task).await.map_err(|error| RunError::Unexpected(error.to_string()))?
    }
}

/// Lets go of the processor for a moment. Other machines would not have it at all, and the kernel takes it from a thread that
/// calculates only at its ticks, up to 4 ms apart.
pub(super) fn let_go() {
    std::thread::sleep(Duration::from_micros(20));
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // Waiting for it is not allowed among other tasks.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}
