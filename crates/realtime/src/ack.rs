//! Turns the acknowledgement of a commit into a frame on the write queue of the connection that asked for it.
//!
//! The frame bypasses the connection's task: waking the task costs more than writing the frame.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use chatsphere_core::store::{Ack, Receipt};
use chatsphere_core::{Error, Unavailable};
use metrics::{Histogram, histogram};
use tokio::time::Instant;

use crate::answer::{self, Correlation};
use crate::frame::encode;
use crate::send_window::{Permit, SendWindow};
use crate::write_queue::WriteQueue;

static ACK_SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!("chatsphere_ack_seconds"));

/// An unacknowledged write of a connection, carried by an [`AckTo`](chatsphere_core::store::AckTo). If it is dropped
/// unanswered, the client gets `outcome_unknown`.
pub struct PendingAck {
    correlation: Correlation,
    write_queue: Arc<WriteQueue>,
    received_at: Instant,
    answered: bool,
    _permit: Permit,
}

impl PendingAck {
    /// The write counts in the connection's send window until it is acknowledged.
    pub fn new(correlation: Correlation, write_queue: Arc<WriteQueue>, window: &SendWindow) -> Self {
        Self { correlation, write_queue, received_at: Instant::now(), answered: false, _permit: window.acquire() }
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

/// Corks the frame of an acknowledgement. If it returns a queue, the caller must [`WriteQueue::uncork`] it.
pub(crate) fn cork(ack: Ack) -> Option<Arc<WriteQueue>> {
    let mut pending = ack.to.read::<PendingAck>()?;
    pending.answered = true;
    if ack.outcome.is_ok() {
        ACK_SECONDS.record(pending.received_at.elapsed().as_secs_f64());
    }
    let must_uncork = pending.write_queue.cork(pending.frame(&ack.outcome)?);
    must_uncork.then(|| pending.write_queue.clone())
}
