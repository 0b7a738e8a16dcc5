//! Decodes the bytes of a socket into frames and handles them in order.

use std::time::Duration;

use bytes::BytesMut;
use chatsphere_core::text::check_bytes;
use chatsphere_net::websocket::{self, Incoming};
use chatsphere_protocol::close;
use chatsphere_protocol::frames::{self, ClientFrame};
use futures_util::future::BoxFuture;

use super::answers::{self, Correlation};
use super::closes;
use super::connection::{Connection, Ended};

/// What the connection does before the next frame.
pub(super) enum Next {
    /// Reads more bytes: no complete frame is left.
    Read,
    /// Completes the last frame's deferred work, then pauses.
    Complete(Deferred, Duration),
    /// Waits until an unacknowledged message is acknowledged.
    AwaitAnswer,
    /// Stops reading for a while: the frame rate is too high.
    Pause(Duration),
}

/// The part of a frame's work that waits, mostly for the store. The connection handles no other frame until it is done.
pub(super) type Deferred = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<(), Ended>> + Send>;

/// Boxes deferred work that borrows the connection.
pub(super) fn deferred<F>(work: F) -> Deferred
where
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<(), Ended>> + Send + 'static,
{
    Box::new(work)
}

impl Connection {
    /// Handles all complete frames that have arrived, up to one with deferred work.
    pub(super) fn take_frames(&mut self) -> Result<Next, Ended> {
        loop {
            if self.write_queue.is_ended() {
                return Err(Ended);
            }
            if self.has_more_to_carry_out() && self.is_full() {
                return Ok(Next::AwaitAnswer);
            }
            let decoded = self.decoder.decode(&mut self.buffer);
            let frames = self.decoder.take_frames();
            let control = u32::from(matches!(decoded, Ok(Some(Incoming::Ping(_) | Incoming::Pong(_)))));
            let pause = self.count(frames.all, frames.empty + control)?;
            let incoming = match decoded {
                Ok(Some(incoming)) => incoming,
                Ok(None) if pause.is_zero() => break,
                Ok(None) => return Ok(Next::Pause(pause)),
                Err(error) => return Err(self.closed(closes::of_violation(error), &error.to_string())),
            };
            if !self.decoder.is_assembling() {
                // The incomplete message is complete.
                self.began_at = 0;
            }
            match incoming {
                Incoming::Text(text) => {
                    if let Some(deferred) = self.take_text(&text)? {
                        return Ok(Next::Complete(deferred, pause));
                    }
                }
                Incoming::Binary(_) => return Err(self.closed(close::BINARY, "send JSON as text frames")),
                Incoming::Ping(payload) => self.write_queue.send(websocket::pong(&payload)),
                Incoming::Pong(_) => {}
                Incoming::Close { code, .. } => return Err(self.closed(code.unwrap_or(close::NORMAL), "")),
            }
            if !pause.is_zero() {
                return Ok(Next::Pause(pause));
            }
        }
        let is_whole = self.buffer.is_empty() && !self.decoder.is_assembling();
        if is_whole {
            self.began_at = 0;
        } else if self.began_at == 0 {
            self.began_at = self.state.sessions.elapsed().max(1);
        }
        if self.buffer.is_empty() {
            // An idle connection holds no buffer.
            self.buffer = BytesMut::new();
        }
        Ok(Next::Read)
    }

    /// Whether the next frame is a text frame or a continuation. Control frames, whose opcodes have the bit `CONTROL` (RFC
    /// 6455, section 5.5), are always handled: a client whose window is full can still answer pings.
    fn has_more_to_carry_out(&self) -> bool {
        const CONTROL: u8 = 0x08;
        self.buffer.first().is_some_and(|first| first & CONTROL == 0)
    }

    /// Whether the send window is full.
    fn is_full(&self) -> bool {
        let most = self.state.chat.limits.unanswered_sends;
        self.unanswered.as_ref().is_some_and(|unanswered| unanswered.is_full(most))
    }

    /// Handles a text frame. Returns its deferred work, if any.
    fn take_text(&mut self, bytes: &[u8]) -> Result<Option<Deferred>, Ended> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(self.closed(close::NOT_UTF8, "not UTF-8"));
        };
        let Some((frame, about)) = self.read_frame(text) else {
            self.count(0, 1)?;
            return Ok(None);
        };
        match self.session.clone() {
            Some(session) => self.request(&session, frame, about),
            None => self.first_request(frame, about),
        }
    }

    /// Parses a frame and its correlation. `None` if it was already answered with an error.
    fn read_frame<'t>(&self, text: &'t str) -> Option<(ClientFrame<'t>, Correlation)> {
        let limits = &self.state.chat.limits;
        let incoming = match frames::Incoming::parse(text) {
            Ok(incoming) => incoming,
            Err(error) => {
                self.send(&answers::unreadable(error, limits.ref_bytes));
                return None;
            }
        };
        let mut about = answers::about(&incoming.frame, limits);
        if let Some(reference) = incoming.reference {
            if let Err(invalid) = check_bytes("ref", &reference, limits.ref_bytes) {
                self.send(&answers::error(&about, &invalid.into()));
                return None;
            }
            about.reference = Some(reference.into_owned());
        }
        Some((incoming.frame, about))
    }

    /// Counts received frames, of which `idle` contain no request. Returns the pause before the next read; closes a connection
    /// that floods.
    pub(super) fn count(&mut self, frames: u32, idle: u32) -> Result<Duration, Ended> {
        let limits = &self.state.chat.limits;
        if !self.is_limited || limits.messages_per_second == 0 || (frames == 0 && idle == 0) {
            return Ok(Duration::ZERO);
        }
        let now = self.state.sessions.elapsed_micros();
        if self.rate.is_flooded(limits, idle, now) {
            let message = "far too many frames that come to nothing: connect again and send more slowly";
            self.send(&answers::early_error(&Correlation::default(), "flood", message));
            return Err(self.closed(close::FLOOD, "flood"));
        }
        Ok(self.rate.count(limits, frames, now))
    }
}
