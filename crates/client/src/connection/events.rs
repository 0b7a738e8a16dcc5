use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use chatsphere_types::RoomId;
use futures_util::Stream;
use tokio::sync::mpsc;

use super::room_cursor::Cursor;
use super::state::Delivery;
use super::update::Update;

/// The updates of a connection, in order. The stream ends after [`Update::Closed`], or when the connection is dropped.
///
/// The queue is bounded: while it is full the socket is not read. If that takes too long, the server closes the connection,
/// which then resumes at its cursors. Dropping this leaves the connection running without updates.
#[derive(Debug)]
pub struct Events {
    updates: mpsc::Receiver<Delivery>,
    cursors: Cursors,
}

impl Events {
    pub(super) fn new(updates: mpsc::Receiver<Delivery>, cursors: Cursors) -> Self {
        Self { updates, cursors }
    }

    /// The next update; `None` is the end. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Update> {
        let delivery = self.updates.recv().await?;
        Some(self.take(delivery))
    }

    fn take(&self, (update, place): Delivery) -> Update {
        if let Some((room, cursor)) = place {
            self.cursors.set(room, cursor);
        }
        update
    }
}

impl Stream for Events {
    type Item = Update;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Update>> {
        let delivery = std::task::ready!(self.updates.poll_recv(context));
        Poll::Ready(delivery.map(|delivery| self.take(delivery)))
    }
}

/// The application's position in each room.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursors(Arc<Mutex<HashMap<RoomId, Cursor>>>);

impl Cursors {
    pub(super) fn get(&self, room: RoomId) -> Option<Cursor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&room).cloned()
    }

    fn set(&self, room: RoomId, cursor: Cursor) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(room, cursor);
    }
}
