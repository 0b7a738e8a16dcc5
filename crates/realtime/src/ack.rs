//! From a commit's acknowledgement to the frame that the asking client gets. It does not pass through the connection's task:
//! waking that for each would cost more than the frame.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use chatsphere_core::store::{Ack, Receipt};
use chatsphere_core::{Error, Unavailable};
use metrics::{Histogram, histogram};
use tokio::time::Instant;

use crate::answer::{self, Correlation};
use crate::frame::encode;
use crate::send_window::{Place, SendWindow};
use crate::write_queue::WriteQueue;

static ACKED: LazyLock<Histogram> = LazyLock::new(|| histogram!("chatsphere_ack_seconds"));

/// A frame of a connection that waits for its acknowledgement: what an [`AckTo`](chatsphere_core::store::AckTo) holds. Whoever
/// drops it unanswered leaves the client with an `outcome_unknown`.
pub struct PendingAck {
    correlation: Correlation,
    write_queue: Arc<WriteQueue>,
    since: Instant,
    answered: bool,
    _place: Place,
}

impl PendingAck {
    /// Takes a place in the connection's window until it is answered.
    pub fn new(correlation: Correlation, write_queue: Arc<WriteQueue>, window: &SendWindow) -> Self {
        Self { correlation, write_queue, since: Instant::now(), answered: false, _place: window.take() }
    }

    fn frame(&self, outcome: &Result<Receipt, Error>) -> Option<Bytes> {
        match outcome {
            Ok(receipt) if self.correlation.wants_ack() => encode(&answer::ack(&self.correlation, receipt)),
            Ok(_) => None,
            Err(error) => encode(&answer::error(&self.correlation, error)),
        }
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        if !self.answered {
            let frame = self.frame(&Err(Unavailable::OutcomeUnknown.into()));
            frame.into_iter().for_each(|frame| self.write_queue.send(frame));
        }
    }
}

/// Queues the frame of an acknowledgement. Where the caller has to [`WriteQueue::release`] it, the queue is returned.
pub(crate) fn cork(ack: Ack) -> Option<Arc<WriteQueue>> {
    let mut pending = ack.to.read::<PendingAck>()?;
    pending.answered = true;
    if ack.outcome.is_ok() {
        ACKED.record(pending.since.elapsed().as_secs_f64());
    }
    let first = pending.write_queue.cork(pending.frame(&ack.outcome)?);
    first.then(|| pending.write_queue.clone())
}
