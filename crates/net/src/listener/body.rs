//! Timeouts of request bodies, and tracking of response bodies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::timer::{Abandoned, ConnectionTimer, InFlight};
use crate::LATE;

/// Bytes of a body that extend its deadline by one second.
const BYTES_A_SECOND: u64 = 4 * 1024;

/// The client took too long to send a request's body; the answer is 408 (RFC 9110, section 15.5.9). Found among the sources of
/// the error from reading the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not arrive in time")]
pub struct BodyTimeout;

/// A request body with a deadline. Only time spent waiting for the client counts, not time in which the server does not read.
///
/// The unread remainder of a dropped body passes to the connection's [`ConnectionTimer`].
pub(super) struct RequestBody {
    /// None once it is dropped.
    incoming: Option<Incoming>,
    /// The client waits for `100 Continue` (RFC 9110, section 10.1.1).
    expected: bool,
    late: bool,
    timer: Arc<ConnectionTimer>,
    allowance: Duration,
    received: u64,
    waiting_since: Option<Instant>,
    waited: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl RequestBody {
    pub(super) fn wrap(incoming: Incoming, expected: bool, timer: &Arc<ConnectionTimer>, allowance: Duration) -> Body {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        let timer = Arc::clone(timer);
        Body::new(Self {
            incoming: Some(incoming),
            expected,
            late: false,
            timer,
            allowance,
            received: 0,
            waiting_since: None,
            waited: Duration::ZERO,
            alarm: None,
            ended: false,
        })
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let earned = Duration::from_secs(self.received / BYTES_A_SECOND);
        loop {
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let deadline = since + (self.allowance + earned).saturating_sub(self.waited);
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            match alarm.as_mut().poll(cx) {
                // The process was suspended: data that arrived meanwhile is not read yet.
                Poll::Ready(()) if deadline.elapsed() >= LATE => self.waiting_since = None,
                alarm => return alarm,
            }
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending => match this.poll_alarm(cx) {
                Poll::Ready(()) => {
                    this.late = true;
                    Poll::Ready(Some(Err(BodyTimeout.into())))
                }
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(frame) => {
                if let Some(since) = this.waiting_since.take() {
                    this.waited += since.elapsed();
                }
                match &frame {
                    Some(Ok(frame)) => this.received += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) | None => this.ended = true,
                }
                Poll::Ready(frame.map(|result| result.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take()
            && !self.ended
            && !incoming.is_end_stream()
        {
            let awaited = self.expected && self.received == 0;
            self.timer.body_abandoned(Abandoned { incoming, awaited, late: self.late });
        }
    }
}

/// A response body. While it exists, its connection is not idle.
pub(super) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

impl AnswerBody {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
