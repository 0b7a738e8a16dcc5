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
    tally: Arc<Tally>,
    /// When it last filled its window while not throttled.
    filled_at: Option<Instant>,
}

/// The number of unacknowledged messages.
#[derive(Default)]
struct Tally {
    count: AtomicUsize,
    fewer: Notify,
}

impl SendWindow {
    /// Whether another message must wait for an acknowledgement. `most` is the bound of a connection that is not throttled.
    pub fn is_full(&self, most: usize) -> bool {
        self.tally.count() >= self.bound(most)
    }

    /// Waits for a free place in the window, and a little longer.
    pub async fn make_room(&mut self, most: usize) {
        if !self.is_throttled() {
            self.filled_at = Some(Instant::now());
        }
        self.tally.fewer_than(self.bound(most)).await;
        sleep(PAUSE).await;
    }

    /// Waits until all messages are acknowledged.
    pub async fn none(&self) {
        self.tally.fewer_than(1).await;
    }

    /// Adds an unacknowledged message, until the place is dropped.
    pub(crate) fn take(&self) -> Place {
        self.tally.count.fetch_add(1, Ordering::Relaxed);
        Place(self.tally.clone())
    }

    fn bound(&self, most: usize) -> usize {
        if self.is_throttled() { most.div_ceil(2) } else { most }
    }

    fn is_throttled(&self) -> bool {
        self.filled_at.is_some_and(|filled_at| filled_at.elapsed() < THROTTLE)
    }
}

impl Tally {
    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until fewer than `bound` are unacknowledged.
    async fn fewer_than(&self, bound: usize) {
        loop {
            let fewer = self.fewer.notified();
            tokio::pin!(fewer);
            // Registered before the check, so that no notification is lost.
            fewer.as_mut().enable();
            if self.count() < bound {
                return;
            }
            fewer.await;
        }
    }
}

/// A place in a send window.
pub(crate) struct Place(Arc<Tally>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Release);
        self.0.fewer.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MAX: usize = 64;

    /// Sends this many messages, all unacknowledged.
    fn send(window: &SendWindow, count: usize) -> Vec<Place> {
        (0..count).map(|_| window.take()).collect()
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
        window.make_room(MAX).await;
        assert!(began.elapsed() >= Duration::from_millis(MAX as u64 / 2 + 1) + PAUSE, "{:?}", began.elapsed());
        let mut sent = answering.await.unwrap();
        assert!(!window.is_full(MAX));
        sent.extend(send(&window, 1));
        assert!(window.is_full(MAX));
        // Filling the halved window does not extend the throttling.
        sent.pop();
        window.make_room(MAX).await;
        sent.extend(send(&window, 1));
        advance(THROTTLE - began.elapsed()).await;
        assert!(!window.is_full(MAX));
        sent.extend(send(&window, MAX / 2));
        assert!(window.is_full(MAX));
        drop(sent);
        window.none().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_stays_possible() {
        let mut window = SendWindow::default();
        let sent = send(&window, 1);
        assert!(window.is_full(1));
        drop(sent);
        window.make_room(1).await;
        assert!(!window.is_full(1));
    }
}
