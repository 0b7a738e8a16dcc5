//! Drains the remainder of a request's body after an early answer.
//!
//! Most clients send the whole body before they read the answer. If the connection were closed meanwhile, the system would
//! reset it, and the answer would be lost (RFC 9112, section 9.6). The remainder is therefore read and discarded, within limits
//! of bytes, time, and concurrent connections.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use super::timer::InFlight;

/// Maximum number of connections that a listener drains patiently at once. Each may hold a buffer of 64 KiB.
pub(super) const PATIENT: usize = 128;

/// Maximum length of a body that is always drained completely, so that its connection can be kept.
pub(super) const SHORT_BODY: u64 = 64 * 1024;

/// Bytes that extend the deadline by one second.
const BYTES_A_SECOND: u64 = 4 * 1024;

/// How much of a body is drained, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    began: Instant,
    /// The time granted without any data.
    first: Duration,
    longest: Duration,
    most: u64,
    received: u64,
}

impl Allowance {
    /// Enough for common uploads: 64 MiB within 30 s, and 5 s for a client that sends nothing.
    pub(super) fn patient() -> Self {
        Self::new(Duration::from_secs(5), Duration::from_secs(30), 64 * 1024 * 1024)
    }

    /// Enough for data already in transit: 1 MiB within half a second.
    pub(super) fn hurried() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_millis(500), 1024 * 1024)
    }

    fn new(first: Duration, longest: Duration, most: u64) -> Self {
        Self { began: Instant::now(), first, longest, most, received: 0 }
    }

    /// The deadline, given the data received so far.
    pub(super) fn due(&self) -> Instant {
        let earned = Duration::from_secs(self.received / BYTES_A_SECOND);
        self.began + self.longest.min(self.first + earned)
    }

    /// Counts received bytes. Returns whether the allowance permits more.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.received += bytes as u64;
        self.received <= self.most
    }
}

/// The remainder of a request's body, while it is drained.
pub(super) struct Unread {
    incoming: Incoming,
    allowance: Allowance,
    alarm: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
    /// The connection is not idle until this is dropped.
    _in_flight: InFlight,
}

/// The result of draining a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Waiting,
    /// Data was read.
    Read,
    /// The body ended, or the client disconnected.
    Ended,
    /// The allowance is exhausted.
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

    /// Reduces the allowance to data already in transit.
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
