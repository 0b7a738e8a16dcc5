//! Reading on after an answer that came before the end of its request's body.
//!
//! Most clients send a whole body before they look at the answer. If the connection were closed meanwhile, the system
//! would reset it, and the answer would be lost (RFC 9112, section 9.6). So what still comes is read and thrown away, within
//! bounds of bytes, of time, and of connections that do so at once.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use super::timer::InFlight;

/// Connections that are read on with patience at once, on one listener. Each may hold a buffer of 64 KiB meanwhile.
pub(super) const PATIENT: usize = 128;

/// The longest body that is always read to its end, so that its connection can be kept.
pub(super) const SHORT_BODY: u64 = 64 * 1024;

/// Bytes that buy their sender another second.
const BYTES_A_SECOND: u64 = 4 * 1024;

/// How much of what still comes is read, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    began: Instant,
    /// The time that nothing has to be sent for.
    first: Duration,
    longest: Duration,
    most: u64,
    received: u64,
}

impl Allowance {
    /// Enough for what usual clients upload: 64 MiB, in 30 s, and 5 s for whoever sends nothing.
    pub(super) fn patient() -> Self {
        Self::new(Duration::from_secs(5), Duration::from_secs(30), 64 * 1024 * 1024)
    }

    /// Enough for what is on its way already: 1 MiB, half a second.
    pub(super) fn hurried() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_millis(500), 1024 * 1024)
    }

    fn new(first: Duration, longest: Duration, most: u64) -> Self {
        Self { began: Instant::now(), first, longest, most, received: 0 }
    }

    /// When it ends, as far as is known now.
    pub(super) fn due(&self) -> Instant {
        let earned = Duration::from_secs(self.received / BYTES_A_SECOND);
        self.began + self.longest.min(self.first + earned)
    }

    /// Counts bytes that were read. Whether more may come.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.received += bytes as u64;
        self.received <= self.most
    }
}

/// The rest of a request's body, while it is read.
pub(super) struct Unread {
    incoming: Incoming,
    allowance: Allowance,
    alarm: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
    /// Until it ends the connection is not idle.
    _in_flight: InFlight,
}

/// How far reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Waiting,
    /// Something was read: the connection has something to do.
    Read,
    /// The body has ended, or the client is gone.
    Ended,
    /// The allowance is used up.
    GivenUp,
}

impl Unread {
    pub(super) fn new(
        incoming: Incoming,
        allowance: Allowance,
        permit: Option<OwnedSemaphorePermit>,
        in_flight: InFlight,
    ) -> Self {
        let alarm = Box::pin(sleep_until(allowance.due()));
        Self { incoming, allowance, alarm, _permit: permit, _in_flight: in_flight }
    }

    /// Leaves it no more time than what is on its way needs.
    pub(super) fn hurry(&mut self) {
        let hurried = Allowance::hurried();
        if hurried.due() < self.allowance.due() {
            self.allowance = hurried;
            self.alarm.as_mut().reset(hurried.due());
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let read = frame.data_ref().map_or(0, bytes::Bytes::len);
                if self.allowance.take(read) { Step::Read } else { Step::GivenUp }
            }
            Poll::Ready(Some(Err(_)) | None) => Step::Ended,
            Poll::Pending => {
                while self.alarm.as_mut().poll(cx).is_ready() {
                    let due = self.allowance.due();
                    if due <= Instant::now() {
                        return Step::GivenUp;
                    }
                    self.alarm.as_mut().reset(due);
                }
                Step::Waiting
            }
        }
    }
}
