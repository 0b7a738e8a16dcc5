//! The send window of a connection: how many of its messages may be unacknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long a connection that filled its window is throttled.
const THROTTLE: Duration = Duration::from_secs(1);
/// How long its socket is not read each time that the window is full.
const PAUSE: Duration = Duration::from_millis(1);

/// The unacknowledged messages of one connection, and their bound.
///
/// A client that sends faster than it is acknowledged would fill every commit with its messages and take all CPU time. When a
/// connection fills its window, it is throttled: its bound is halved for a second, and its socket is not read for a moment each
/// time that the window is full.
#[derive(Default)]
pub struct SendWindow {
    unacked: Arc<Unacked>,
    /// When it last filled its window while not throttled.
    filled_at: Option<Instant>,
}

/// The number of unacknowledged messages.
#[derive(Default)]
struct Unacked {
    count: AtomicUsize,
    /// Notified when a message is acknowledged.
    acked: Notify,
}

impl SendWindow {
    /// Whether another message must wait for an acknowledgement. `max` is the bound of a connection that is not throttled.
    pub fn is_full(&self, max: usize) -> bool {
        self.unacked.count() >= self.bound(max)
    }

    /// Waits until the window is not full, and a little longer.
    pub async fn wait_for_permit(&mut self, max: usize) {
        if !self.is_throttled() {
            self.filled_at = Some(Instant::now());
        }
        self.unacked.fewer_than(self.bound(max)).await;
        sleep(PAUSE).await;
    }

    /// Waits until all messages are acknowledged.
    pub async fn wait_for_all(&self) {
        self.unacked.fewer_than(1).await;
    }

    /// Counts an unacknowledged message until the permit is dropped.
    pub(crate) fn acquire(&self) -> Permit {
        self.unacked.count.fetch_add(1, Ordering::Relaxed);
        Permit(self.unacked.clone())
    }

    fn bound(&self, max: usize) -> usize {
        if self.is_throttled() { max.div_ceil(2) } else { max }
    }

    fn is_throttled(&self) -> bool {
        self.filled_at.is_some_and(|filled_at| filled_at.elapsed() < THROTTLE)
    }
}

impl Unacked {
    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until fewer than `bound` are unacknowledged.
    async fn fewer_than(&self, bound: usize) {
        loop {
            let acked = self.acked.notified();
            tokio::pin!(acked);
            // Registered before the check, so that no notification is lost.
            acked.as_mut().enable();
            if self.count() < bound {
                return;
            }
            acked.await;
        }
    }
}

/// One unacknowledged message in a send window.
pub(crate) struct Permit(Arc<Unacked>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Release);
        self.0.acked.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MAX: usize = 64;

    /// Sends this many messages, all unacknowledged.
    fn send(window: &SendWindow, count: usize) -> Vec<Permit> {
        (0..count).map(|_| window.acquire()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_fills_its_window_is_halved_for_a_second() {
        let mut window = SendWindow::default();
        let mut sent = send(&window, MAX);
        assert!(window.is_full(MAX));
        sent.pop();
        assert!(!window.is_full(MAX));
        sent.extend(send(&window, 1));

        let began = Instant::now();
        let answering = tokio::spawn(async move {
            while sent.len() >= MAX / 2 {
                sleep(Duration::from_millis(1)).await;
                sent.pop();
            }
            sent
        });
        window.wait_for_permit(MAX).await;
        assert!(began.elapsed() >= Duration::from_millis(MAX as u64 / 2 + 1) + PAUSE, "{:?}", began.elapsed());
        let mut sent = answering.await.unwrap();
        assert!(!window.is_full(MAX));
        sent.extend(send(&window, 1));
        assert!(window.is_full(MAX));
        // Filling the halved window does not extend the throttling.
        sent.pop();
        window.wait_for_permit(MAX).await;
        sent.extend(send(&window, 1));
        advance(THROTTLE - began.elapsed()).await;
        assert!(!window.is_full(MAX));
        sent.extend(send(&window, MAX / 2));
        assert!(window.is_full(MAX));
        drop(sent);
        window.wait_for_all().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_stays_possible() {
        let mut window = SendWindow::default();
        let sent = send(&window, 1);
        assert!(window.is_full(1));
        drop(sent);
        window.wait_for_permit(1).await;
        assert!(!window.is_full(1));
    }
}
