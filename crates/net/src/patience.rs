//! Timeouts that do not count time in which the process was suspended.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// A timer that fires this late was delayed with the whole process, as by a suspended machine. Data that the peer sent
/// meanwhile is not read yet.
pub const LATE: Duration = Duration::from_secs(1);

/// Limits the time that the peer may take. If the process was suspended meanwhile, waits once more.
///
/// # Errors
/// The future did not complete in time.
pub async fn in_time<F: Future>(within: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    loop {
        let deadline = Instant::now() + within;
        match timeout_at(deadline, future.as_mut()).await {
            Err(_) if deadline.elapsed() >= LATE => {}
            outcome => return outcome,
        }
    }
}
