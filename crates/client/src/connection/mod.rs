//! A WebSocket connection that reconnects and resumes by itself.

mod backoff;
mod command;
mod driver;
mod events;
mod options;
mod outbox;
mod room_cursor;
pub(crate) mod signals;
mod socket;
mod state;
pub(crate) mod tls;
mod update;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chatsphere_protocol::frames::Ack;
use chatsphere_types::RoomId;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use command::Joined;
pub use events::Events;
pub use options::{ConnectOptions, TokenError, TokenFuture, TokenProvider};
pub use outbox::OutgoingMessage;
pub use room_cursor::Cursor;
pub use update::Update;

use crate::client::Client;
use crate::error::{Error, RequestError};
use command::{Command, SendReply};
use driver::Driver;
use events::Cursors;
use state::State;

/// Maximum number of queued commands.
const COMMANDS: usize = 64;

/// The state of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Connecting for the first time.
    Connecting,
    /// Open.
    Connected,
    /// Disconnected, and reconnecting.
    Reconnecting,
    /// Closed for good.
    Closed {
        /// The close code, see [`chatsphere_protocol::close`].
        code: u16,
        /// The server's reason.
        reason: String,
    },
}

/// A connection, from [`Client::connect`]. Share it in an [`Arc`]. Dropping it closes the socket.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    commands: mpsc::Sender<Command>,
    unacknowledged: Arc<Semaphore>,
    status: watch::Receiver<ConnectionState>,
    cursors: Cursors,
    task: JoinHandle<()>,
}

impl Connection {
    pub(crate) fn open(client: Client, options: ConnectOptions) -> (Self, Events) {
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (updates, handed_out) = mpsc::channel(options.events);
        let (status, watched) = watch::channel(ConnectionState::Connecting);
        let unacknowledged = Arc::new(Semaphore::new(options.unacknowledged));
        let cursors = Cursors::default();
        let state = State::new(options.ordered);
        let asked_to_wait = Duration::ZERO;
        let driver = Driver { client: client.clone(), options, commands: asked, updates, status, state, asked_to_wait };
        let task = tokio::spawn(driver.run());
        let connection = Self { client, commands, unacknowledged, status: watched, cursors: cursors.clone(), task };
        (connection, Events::new(handed_out, cursors))
    }

    /// Subscribes to a room, beginning with its newest messages. The connection joins again by itself after each reconnect. A
    /// room that is already joined stays joined.
    ///
    /// Waits while the connection is down.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn join(&self, room: RoomId) -> Result<Joined, RequestError> {
        self.ask(|reply| Command::Join { room, since: None, reply }).await?
    }

    /// Subscribes to a room, beginning after `cursor`. No event is missing in between, unless [`Update::NotRecovered`] reports
    /// it.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn join_since(&self, room: RoomId, cursor: Cursor) -> Result<Joined, RequestError> {
        self.ask(|reply| Command::Join { room, since: Some(cursor), reply }).await?
    }

    /// Unsubscribes from a room. Events that are already queued are still delivered.
    ///
    /// # Errors
    /// [`RequestError::Closed`]
    pub async fn leave(&self, room: RoomId) -> Result<(), RequestError> {
        self.ask(|reply| Command::Leave { room, reply }).await
    }

    /// Posts a message and waits until it is stored, across any number of reconnects; it is stored once. Requires membership,
    /// not a join. A temporary error, such as a rate limit, is retried after the delay that the server asks for. Messages of
    /// one room are stored in the order of the calls, unless [`ConnectOptions::unordered`] is set.
    ///
    /// To wait for a limited time, use [`tokio::time::timeout`]. A message that was not sent by then is never sent. For one
    /// that was sent, it is unknown whether it is stored, unless it is sent again with the same `clientMessageId`.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn send(&self, room: RoomId, message: impl Into<OutgoingMessage>) -> Result<Ack<'static>, RequestError> {
        let message = message.into();
        let permit = self.unacknowledged.clone().acquire_owned().await.map_err(|_| RequestError::Closed)?;
        self.ask(|reply| Command::Send { room, message, reply: SendReply { reply, _permit: permit } }).await?
    }

    /// Replaces the token by another one of the same user, like [`Client::set_token`].
    ///
    /// # Errors
    /// [`Error::Token`]
    pub fn set_token(&self, token: impl Into<String>) -> Result<(), Error> {
        self.client.set_token(token)
    }

    /// The position up to which the application has taken a room's events from [`Events`]. Store it for a later
    /// [`join_since`](Connection::join_since).
    pub fn cursor(&self, room: RoomId) -> Option<Cursor> {
        self.cursors.get(room)
    }

    /// The current state.
    pub fn state(&self) -> ConnectionState {
        self.status.borrow().clone()
    }

    /// Closes the socket and waits until it is closed, without waiting for pending acknowledgements.
    pub async fn close(self) {
        drop(self.commands);
        let _ = self.task.await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| RequestError::Closed)?;
        answer.await.map_err(|_| RequestError::Closed)
    }
}
