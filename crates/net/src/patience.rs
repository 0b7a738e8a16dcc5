//! Time-outs that don't count time in which this process stood still.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// A timer that rings so late was held up with the whole process, as when that was suspended. What the other side sent
/// meanwhile has not been read yet.
pub const LATE: Duration = Duration::from_secs(1);

/// Waits for something that the other side must do within this time. If this process stood still meanwhile, it waits once more.
///
/// # Errors
/// It was not done in time.
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
