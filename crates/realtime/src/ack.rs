//! From a commit's acknowledgement to the frame that the asking client gets. It does not pass through the connection's task:
//! waking that for each would cost more than the frame.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use chatsphere_core::store::{Ack, Receipt};
use chatsphere_core::{Error, Outage};
use metrics::{Histogram, histogram};
use tokio::time::Instant;

use crate::answer::{self, Correlation};
use crate::frame::encode;
use crate::outbound::Outbound;
use crate::send_window::{Place, SendWindow};

static ACKED: LazyLock<Histogram> = LazyLock::new(|| histogram!("chatsphere_ack_seconds"));

/// A frame of a connection that waits for its acknowledgement: what an [`AckTo`](chatsphere_core::store::AckTo) holds. Whoever
/// drops it unanswered leaves the client with an `outcome_unknown`.
pub struct PendingAck {
    correlation: Correlation,
    outbound: Arc<Outbound>,
    since: Instant,
    answered: bool,
    _place: Place,
}

impl PendingAck {
    /// Takes a place in the connection's window until it is answered.
    pub fn new(correlation: Correlation, outbound: Arc<Outbound>, window: &SendWindow) -> Self {
        Self { correlation, outbound, since: Instant::now(), answered: false, _place: window.take() }
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
            let frame = self.frame(&Err(Outage::OutcomeUnknown.into()));
            frame.into_iter().for_each(|frame| self.outbound.send(frame));
        }
    }
}

/// Queues the frame of an acknowledgement. Where the caller has to [`Outbound::release`] it, the queue is returned.
pub(crate) fn hold(ack: Ack) -> Option<Arc<Outbound>> {
    let mut pending = ack.to.read::<PendingAck>()?;
    pending.answered = true;
    if ack.outcome.is_ok() {
        ACKED.record(pending.since.elapsed().as_secs_f64());
    }
    let first = pending.outbound.hold(pending.frame(&ack.outcome)?);
    first.then(|| pending.outbound.clone())
}
