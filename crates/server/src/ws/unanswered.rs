//! Messages that a connection sent and that are not answered yet.
//!
//! Their answers don't pass through the connection's task: waking it for each would cost more than the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatsphere_core::store::OnAppended;
use chatsphere_core::{Done, Error, Message, Outage};
use chatsphere_realtime::Outbound;
use chatsphere_realtime::frame::encode;
use tokio::sync::Notify;

use super::answers::{self, About};

/// How many there are of one connection.
#[derive(Default)]
pub(super) struct Unanswered {
    count: AtomicUsize,
    fewer: Notify,
}

impl Unanswered {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there are fewer than `bound`.
    pub(super) async fn fewer_than(&self, bound: usize) {
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

/// Who is told what became of a message.
pub(super) struct Sender {
    about: About,
    outbound: Arc<Outbound>,
    among: Arc<Unanswered>,
    told: bool,
}

impl Sender {
    /// One more that is unanswered.
    pub(super) fn new(about: About, outbound: Arc<Outbound>, among: Arc<Unanswered>) -> Self {
        among.count.fetch_add(1, Ordering::Relaxed);
        Self { about, outbound, among, told: false }
    }

    fn tell(&mut self, outcome: &Result<Done<Message>, Error>) {
        self.told = true;
        let frame = match outcome {
            Ok(done) if self.about.wants_ack() => answers::ack(&self.about, &done.value),
            Ok(_) => return,
            Err(error) => answers::error(&self.about, error),
        };
        encode(&frame).into_iter().for_each(|frame| self.outbound.send(frame));
    }
}

impl OnAppended for Sender {
    fn appended(mut self: Box<Self>, outcome: Result<Done<Message>, Error>) {
        self.tell(&outcome);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&Err(Outage::OutcomeUnknown.into()));
        }
        self.among.count.fetch_sub(1, Ordering::Release);
        self.among.fewer.notify_waiters();
    }
}
