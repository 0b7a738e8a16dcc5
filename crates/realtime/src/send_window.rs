//! Messages that a connection sent and that are not answered yet, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long a connection that has run ahead of its answers is held to less.
const HELD_BACK: Duration = Duration::from_secs(1);
/// How long its socket rests each time that it has to wait for answers.
const PAUSE: Duration = Duration::from_millis(1);

/// The unanswered messages of one connection, and their bound.
///
/// A client that sends faster than it is answered would fill every commit with its own messages and take all processors, and
/// everybody else's messages would wait for that. So once it has run into its bound it is held to half of it for a while, and
/// its socket rests each time that it has to wait.
#[derive(Default)]
pub struct SendWindow {
    tally: Arc<Tally>,
    /// When it ran into its bound, for the last time that it was not held back.
    ran_ahead: Option<Instant>,
}

/// How many messages are unanswered.
#[derive(Default)]
struct Tally {
    count: AtomicUsize,
    fewer: Notify,
}

impl SendWindow {
    /// Whether no more may be sent before an answer. `most` is the bound of a connection that has not run ahead.
    pub fn is_full(&self, most: usize) -> bool {
        self.tally.count() >= self.bound(most)
    }

    /// Waits until an answer has made room, and a little longer.
    pub async fn make_room(&mut self, most: usize) {
        if !self.is_held_back() {
            self.ran_ahead = Some(Instant::now());
        }
        self.tally.fewer_than(self.bound(most)).await;
        sleep(PAUSE).await;
    }

    /// Waits until all are answered.
    pub async fn none(&self) {
        self.tally.fewer_than(1).await;
    }

    /// One more that is unanswered, for as long as the place is held.
    pub(crate) fn take(&self) -> Place {
        self.tally.count.fetch_add(1, Ordering::Relaxed);
        Place(self.tally.clone())
    }

    fn bound(&self, most: usize) -> usize {
        if self.is_held_back() { most.div_ceil(2) } else { most }
    }

    fn is_held_back(&self) -> bool {
        self.ran_ahead.is_some_and(|ran_ahead| ran_ahead.elapsed() < HELD_BACK)
    }
}

impl Tally {
    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there are fewer than `bound`.
    async fn fewer_than(&self, bound: usize) {
        loop {
            let fewer = self.fewer.notified();
            tokio::pin!(fewer);
            // Registered before the look, so that what happens in between is not missed.
            fewer.as_mut().enable();
            if self.count() < bound {
                return;
            }
            fewer.await;
        }
    }
}

/// A place in a window.
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

    /// So many more that are unanswered.
    fn send(window: &SendWindow, count: usize) -> Vec<Place> {
        (0..count).map(|_| window.take()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_ran_ahead_is_held_to_half_for_a_second() {
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
        // Waiting once more is not running ahead once more.
        sent.pop();
        window.make_room(MAX).await;
        sent.extend(send(&window, 1));
        advance(HELD_BACK - began.elapsed()).await;
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
