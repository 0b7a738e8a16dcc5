//! Messages that a connection sent and that are not answered yet.
//!
//! Their answers don't pass through the connection's task: waking it for each would cost more than the answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::store::{OnAppended, Withheld};
use chatsphere_core::{Done, Error, Message, Outage};
use chatsphere_realtime::Outbound;
use chatsphere_realtime::frame::encode;
use metrics::{Histogram, histogram};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::answers::{self, About};

/// How long a connection that has run ahead of its answers is held to less.
const HELD_BACK: Duration = Duration::from_secs(1);
/// How long its socket rests each time that it has to wait for answers.
const REST: Duration = Duration::from_millis(1);

/// The unanswered messages of one connection.
///
/// A client that sends faster than it is answered would fill every commit with its own messages and take all processors, and everybody
/// else's messages would wait for that. So once it has run into its bound it is held to half of it for a while, and its socket rests
/// each time that it has to wait.
#[derive(Default)]
pub(super) struct Unanswered {
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

impl Unanswered {
    /// Whether no more may be sent before an answer. `most` is the bound of a connection that has not run ahead.
    pub(super) fn is_full(&self, most: usize) -> bool {
        self.tally.count() >= self.bound(most)
    }

    /// Waits until an answer has made room, and a little longer.
    pub(super) async fn make_room(&mut self, most: usize) {
        if !self.is_held_back() {
            self.ran_ahead = Some(Instant::now());
        }
        self.tally.fewer_than(self.bound(most)).await;
        sleep(REST).await;
    }

    /// Waits until all are answered.
    pub(super) async fn none(&self) {
        self.tally.fewer_than(1).await;
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

static ACKED: LazyLock<Histogram> = LazyLock::new(|| histogram!("chatsphere_ack_seconds"));

/// Who is told what became of a message.
pub(super) struct Sender {
    arrived: Instant,
    about: About,
    outbound: Arc<Outbound>,
    among: Arc<Tally>,
    told: bool,
}

impl Sender {
    /// One more that is unanswered.
    pub(super) fn new(about: About, outbound: Arc<Outbound>, unanswered: &Unanswered) -> Self {
        let among = unanswered.tally.clone();
        among.count.fetch_add(1, Ordering::Relaxed);
        Self { arrived: Instant::now(), about, outbound, among, told: false }
    }

    fn answer(&self, outcome: &Result<Done<Message>, Error>) -> Option<Bytes> {
        match outcome {
            Ok(done) if self.about.wants_ack() => encode(&answers::ack(&self.about, &done.value)),
            Ok(_) => None,
            Err(error) => encode(&answers::error(&self.about, error)),
        }
    }
}

impl OnAppended for Sender {
    fn appended(mut self: Box<Self>, outcome: Result<Done<Message>, Error>) -> Option<Arc<dyn Withheld>> {
        self.told = true;
        if outcome.is_ok() {
            ACKED.record(self.arrived.elapsed().as_secs_f64());
        }
        let first = self.outbound.hold(self.answer(&outcome)?);
        first.then(|| self.outbound.clone() as Arc<dyn Withheld>)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.told {
            let answer = self.answer(&Err(Outage::OutcomeUnknown.into()));
            answer.into_iter().for_each(|answer| self.outbound.send(answer));
        }
        self.among.count.fetch_sub(1, Ordering::Release);
        self.among.fewer.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_realtime::Socket;
    use tokio::time::advance;

    use super::*;

    const MOST: usize = 64;

    /// So many more that are unanswered.
    fn send(unanswered: &Unanswered, count: usize) -> Vec<Sender> {
        let outbound = Arc::new(Outbound::new(Socket::Queued, 1 << 20));
        (0..count).map(|_| Sender::new(About::default(), outbound.clone(), unanswered)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_ran_ahead_is_held_to_half_for_a_second() {
        let mut unanswered = Unanswered::default();
        let mut sent = send(&unanswered, MOST);
        assert!(unanswered.is_full(MOST));
        sent.pop();
        assert!(!unanswered.is_full(MOST));
        sent.extend(send(&unanswered, 1));

        let began = Instant::now();
        let answering = tokio::spawn(async move {
            while sent.len() >= MOST / 2 {
                sleep(Duration::from_millis(1)).await;
                sent.pop();
            }
            sent
        });
        unanswered.make_room(MOST).await;
        assert!(began.elapsed() >= Duration::from_millis(MOST as u64 / 2 + 1) + REST, "{:?}", began.elapsed());
        let mut sent = answering.await.unwrap();
        assert!(!unanswered.is_full(MOST));
        sent.extend(send(&unanswered, 1));
        assert!(unanswered.is_full(MOST));
        // Waiting once more is not running ahead once more.
        sent.pop();
        unanswered.make_room(MOST).await;
        sent.extend(send(&unanswered, 1));
        advance(HELD_BACK - began.elapsed()).await;
        assert!(!unanswered.is_full(MOST));
        sent.extend(send(&unanswered, MOST / 2));
        assert!(unanswered.is_full(MOST));
        drop(sent);
        unanswered.none().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_stays_possible() {
        let mut unanswered = Unanswered::default();
        let sent = send(&unanswered, 1);
        assert!(unanswered.is_full(1));
        drop(sent);
        unanswered.make_room(1).await;
        assert!(!unanswered.is_full(1));
    }
}
