//! Handles the server's frames: records them, and updates the client's position in each room.

use std::time::Duration;

use chatsphere_protocol::frames::{ErrorFrame, PreviousMessages, ServerFrame};
use tokio::time::Instant;

use super::device::Device;
use super::place::JoinState;
use super::wire::Wire;
use crate::judge::record::{Event, Joined, Page, What};

/// Delay before a join that got a temporary error is repeated.
const PAUSE: Duration = Duration::from_millis(100);

impl Device {
    pub(super) fn take(&mut self, text: &[u8], wire: &mut Wire) {
        let Ok(frame) = serde_json::from_slice::<ServerFrame<'static>>(text) else {
            return self.strange(text, "can't be read");
        };
        if self.understand(frame, wire).is_none() {
            self.strange(text, "has no place here");
        }
    }

    /// `None` if the frame makes no sense.
    fn understand(&mut self, frame: ServerFrame<'static>, wire: &mut Wire) -> Option<()> {
        match frame {
            ServerFrame::Hello(hello) => {
                self.saw(What::Connected { replay_events: hello.limits.replay_events });
                self.resume(wire);
            }
            ServerFrame::JoinConfirmation { seq, epoch, recovered, reason, reference, .. } => {
                let (number, asked) = self.joins.answered(reference.as_deref())?;
                let (room, since) = (asked.room, asked.since);
                self.saw(What::Joined(Joined { room, since, asked: asked.at, seq: seq.get(), recovered, reason }));
                let place = self.places.get_mut(room)?;
                place.epoch = Some(epoch.into_owned());
                if place.join_state != JoinState::Listening {
                    place.join_state = JoinState::Replaying(number);
                }
            }
            ServerFrame::PreviousMessages(page) => {
                let (number, asked) = self.joins.answered(page.reference.as_deref())?;
                self.page(asked.room, number, &page)?;
            }
            ServerFrame::Event(frame) => {
                let room = self.room(frame.room_id)?;
                let event = Event::from(&frame);
                let place = self.places.get_mut(room)?;
                if matches!(place.join_state, JoinState::Listening | JoinState::Asking(_) | JoinState::Replaying(_)) {
                    place.cursor = place.cursor.max(event.seq);
                }
                self.saw(What::Event { room, event });
            }
            ServerFrame::Left { room_id, reason } => {
                let room = self.room(room_id)?;
                self.saw(What::Left { room, reason: reason.into_owned() });
                let place = self.places.get_mut(room)?;
                // It ends a confirmed join. A join that is not confirmed yet may still succeed, if the user is back.
                if !matches!(place.join_state, JoinState::Asking(_)) {
                    place.join_state = JoinState::NotJoined;
                    place.wanted = false;
                    if self.stays.contains(&room) {
                        self.join(room, wire);
                    }
                }
            }
            ServerFrame::LeaveConfirmation { room_id, .. } => {
                let room = self.room(room_id)?;
                self.saw(What::LeftByItself { room });
                let place = self.places.get_mut(room)?;
                // The server answers a later join after this frame.
                if place.join_state == JoinState::Listening {
                    place.join_state = JoinState::NotJoined;
                    // It was still subscribed when it got its final rooms, and so did not join.
                    if self.stays.contains(&room) {
                        self.join(room, wire);
                    }
                }
            }
            ServerFrame::Ack(ack) => {
                let (room, key) = (self.room(ack.room_id)?, ack.client_message_id?.into_owned());
                self.saw(What::Acked { room, key: key.clone(), id: ack.id, seq: ack.seq.get() });
                if let Some(message) = self.outbox.take(room, &key) {
                    *self.last_acked.get_mut(room)? = Some((message, ack.id));
                }
            }
            ServerFrame::Pong { reference } => {
                let upto = reference.as_deref()?.strip_prefix('t')?.parse().ok()?;
                self.saw(What::Settled { upto });
                self.woke = self.woke.filter(|woke| *woke > upto);
                self.settle(upto, wire);
            }
            ServerFrame::Error(error) => self.refused(error)?,
            // The close frame follows.
            ServerFrame::Closing { .. } => {}
            // The contract guarantees nothing about ephemeral frames.
            ServerFrame::Signal(_) => {}
            ServerFrame::AuthOk { .. } => return None,
        }
        Some(())
    }

    /// The joins sent before this tick are complete. A failed one was ended by `left`.
    fn settle(&mut self, upto: u64, wire: &mut Wire) {
        for room in 0..self.places.len() {
            let Some(place) = self.places.get_mut(room) else { continue };
            let (JoinState::Asking(number) | JoinState::Replaying(number)) = place.join_state else { continue };
            if self.joins.at(number).is_some_and(|at| at < upto) {
                place.join_state = JoinState::NotJoined;
                place.wanted = false;
                if self.stays.contains(&room) {
                    self.join(room, wire);
                }
            }
        }
    }

    fn page(&mut self, room: usize, number: u64, page: &PreviousMessages<'static>) -> Option<()> {
        let (from, to, more) = (page.from_seq.get(), page.to_seq.get(), page.more);
        let messages = page.messages.iter().map(Event::from).collect();
        let others = page.events.iter().map(Event::from).collect();
        self.saw(What::Page(Page { room, from, to, more, messages, others }));
        let place = self.places.get_mut(room)?;
        place.cursor = place.cursor.max(to);
        if !more {
            self.joins.end(number);
            if place.join_state == JoinState::Replaying(number) {
                place.join_state = JoinState::Listening;
            }
        }
        Some(())
    }

    fn refused(&mut self, error: ErrorFrame<'static>) -> Option<()> {
        let wait = error.retry_after_ms.map(Duration::from_millis);
        if let (Some(room), Some(key)) = (&error.room_id, &error.client_message_id) {
            let room = self.room(room.parse().ok()?)?;
            if error.retryable {
                self.outbox.put_off(room, key, wait);
            } else {
                self.outbox.take(room, key);
                self.saw(What::Refused { room, key: key.to_string(), code: error.code.into_owned() });
            }
            return Some(());
        }
        if let Some((number, asked)) = self.joins.answered(error.reference.as_deref()) {
            if !error.retryable {
                self.saw(What::JoinRefused { room: asked.room, asked: asked.at, code: error.code.into_owned() });
            }
            let place = self.places.get_mut(asked.room)?;
            if matches!(place.join_state, JoinState::Asking(asking) | JoinState::Replaying(asking) if asking == number) {
                place.wanted &= error.retryable;
                let later = Instant::now() + wait.unwrap_or(PAUSE).clamp(PAUSE, PAUSE * 10);
                place.join_state = if error.retryable { JoinState::Later(later) } else { JoinState::NotJoined };
            }
            return Some(());
        }
        // The server cannot check rights at the moment. But a join that was answered completely cannot fail any more.
        let of_join = error.reference.is_some_and(|reference| reference.starts_with('j'));
        (error.retryable && !of_join).then_some(())
    }

    fn room(&self, id: chatsphere_client::RoomId) -> Option<usize> {
        self.with.rooms.iter().position(|room| *room == id)
    }

    fn strange(&self, text: &[u8], why: &str) {
        let text: String = String::from_utf8_lossy(text).chars().take(400).collect();
        self.saw(What::Strange { text: format!("a frame {why}: {text}") });
    }
}
