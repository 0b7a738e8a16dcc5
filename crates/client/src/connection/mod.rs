//! A WebSocket connection that keeps itself.

mod backoff;
mod command;
mod driver;
mod events;
mod options;
mod outbox;
mod room_cursor;
mod socket;
mod state;
pub(crate) mod tls;
mod update;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chatsphere_protocol::frames::Ack;
use chatsphere_types::{MessageId, RoomId};
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

/// Commands that may wait for the task behind a connection.
const COMMANDS: usize = 64;

/// How a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// It connects for the first time.
    Connecting,
    /// It is up.
    Connected,
    /// It is down, and tried again.
    Reconnecting,
    /// It is closed and does not come back.
    Closed {
        /// The close code, see [`chatsphere_protocol::close`].
        code: u16,
        /// What the server said.
        reason: String,
    },
}

/// A connection, from [`Client::connect`]. Share it by an [`Arc`]. Dropping it closes the socket.
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

    /// Listens to a room, beginning with its newest messages. The connection joins again by itself whenever it was down. A room
    /// that is joined already stays as it is.
    ///
    /// Waits while the connection is down.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn join(&self, room: RoomId) -> Result<Joined, RequestError> {
        self.ask(|reply| Command::Join { room, since: None, reply }).await?
    }

    /// Listens to a room, beginning after `cursor`: nothing is missing between, or [`Update::NotRecovered`] says so.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn join_since(&self, room: RoomId, cursor: Cursor) -> Result<Joined, RequestError> {
        self.ask(|reply| Command::Join { room, since: Some(cursor), reply }).await?
    }

    /// Listens to a room no more. Events that wait already are still handed out.
    ///
    /// # Errors
    /// [`RequestError::Closed`]
    pub async fn leave(&self, room: RoomId) -> Result<(), RequestError> {
        self.ask(|reply| Command::Leave { room, reply }).await
    }

    /// Posts a message and waits until it is stored, however often the connection is down meanwhile; it is stored once. Needs
    /// membership, not a join. What fails for a time, such as a rate limit, is sent again after the wait that the server names.
    /// Messages of one room are stored in the order in which they were given, unless [`ConnectOptions::unordered`].
    ///
    /// To wait for a limited time, put it into [`tokio::time::timeout`]: a message that was not sent by then is not sent any
    /// more; of one that was, it is not known whether it is stored, unless it is sent again with the same `clientMessageId`.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn send(&self, room: RoomId, message: impl Into<OutgoingMessage>) -> Result<Ack<'static>, RequestError> {
        let message = message.into();
        let permit = self.unacknowledged.clone().acquire_owned().await.map_err(|_| RequestError::Closed)?;
        self.ask(|reply| Command::Send { room, message, reply: SendReply { reply, _permit: permit } }).await?
    }

    /// Shows the others in a room that the user types, in the thread of `parent` if that is given, or has stopped. Call it
    /// every 3 s while somebody types; it ends by itself 6 s after the last call, or with the user's next message. While the
    /// connection is down it does nothing. What the server refuses comes as [`Update::Error`].
    ///
    /// # Errors
    /// [`RequestError::Closed`]
    pub async fn typing(&self, room: RoomId, parent: Option<MessageId>, on: bool) -> Result<(), RequestError> {
        self.commands.send(Command::Typing { room, parent, on }).await.map_err(|_| RequestError::Closed)
    }

    /// Uses another token of the same user from now on: the same as [`Client::set_token`].
    ///
    /// # Errors
    /// [`Error::Token`]
    pub fn set_token(&self, token: impl Into<String>) -> Result<(), Error> {
        self.client.set_token(token)
    }

    /// How far the application has taken a room's events from [`Events`]: keep it, and a later
    /// [`join_since`](Connection::join_since) goes on from there.
    pub fn cursor(&self, room: RoomId) -> Option<Cursor> {
        self.cursors.get(room)
    }

    /// How the connection is now.
    pub fn state(&self) -> ConnectionState {
        self.status.borrow().clone()
    }

    /// Closes the socket and waits until it is closed. Messages that are not acknowledged are not waited for.
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
