use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Minimum interval of updates.
const EVERY: Duration = Duration::from_millis(200);

/// Shows progress on a terminal only.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: usize,
    done: AtomicUsize,
    told: Option<Mutex<Instant>>,
}

impl Progress {
    /// Begins an activity with this many steps.
    pub(crate) fn start(what: &'static str, total: usize) -> Self {
        let told = io::stderr().is_terminal().then(|| Mutex::new(Instant::now()));
        Self { what, total, done: AtomicUsize::new(0), told }
    }

    /// Counts a step.
    pub(crate) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(told) = &self.told else { return };
        let Ok(mut told) = told.try_lock() else { return };
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            let _ = write!(io::stderr(), "\r\x1b[K{}: {done} of {}", self.what, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Waits with a countdown.
pub(crate) async fn wait(what: &'static str, seconds: u64) {
    let progress = Progress::start(what, usize::try_from(seconds).unwrap_or(usize::MAX));
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep_until(end.min(tokio::time::Instant::now() + Duration::from_secs(1))).await;
        progress.step();
    }
}
