//! Handles each frame of an authenticated connection by calling one op and answering.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::ops::{self, EditMessage, PostMessage, SendSignal};
use chatsphere_core::signal::{SignalData, SignalName};
use chatsphere_core::store::AckTo;
use chatsphere_core::{Access, Caller, Error, MessageId, RoomId, SignalKind, Version};
use chatsphere_protocol::frames::{ClientFrame, ServerFrame};
use chatsphere_realtime::{Join, PendingAck, SendWindow, WriteQueue, join};
use tokio::time::sleep;

use super::Mode;
use super::answers::{self, Correlation};
use super::connection::{Connection, Ended};
use super::connection_registry::Session;
use super::frames::{Deferred, deferred};
use super::in_turn::InTurn;

/// How often a connection whose replay is in progress is marked as not silent.
const STILL_THERE: Duration = Duration::from_secs(5);

impl Connection {
    /// Handles a frame. Returns its deferred work, if any. This is the only place that dispatches on the type of a frame.
    pub(super) fn request(
        &mut self,
        session: &Arc<Session>,
        frame: ClientFrame<'_>,
        about: Correlation,
    ) -> Result<Option<Deferred>, Ended> {
        let Some(caller) = self.judged(session, &about) else { return Ok(None) };
        let done = match frame {
            ClientFrame::Ping => {
                self.count(0, 1)?;
                self.send(&ServerFrame::Pong { reference: about.reference() });
                Ok(())
            }
            ClientFrame::Message { room_id, content, client_message_id, user_id } => {
                self.post(&caller, Post { room_id, content, client_message_id, user_id }, &about)
            }
            ClientFrame::Edit { room_id, message_id, content, if_version, user_id } => {
                let edit = edit(&caller, (&room_id, &message_id), content.into_owned(), if_version);
                return Ok(self.change(caller, user_id.as_deref(), edit, about, Self::edit));
            }
            ClientFrame::Delete { room_id, message_id, user_id } => {
                let ids = message_ids(&caller, &room_id, &message_id);
                return Ok(self.change(caller, user_id.as_deref(), ids, about, Self::delete));
            }
            ClientFrame::Leave { room_id } => self.leave(session, &caller, &room_id, &about),
            ClientFrame::Auth { token } => {
                let (session, token) = (session.clone(), token.into_owned());
                return Ok(Some(deferred(move |connection| {
                    Box::pin(async move {
                        let done = connection.authenticate_again(&session, &token, &about).await;
                        connection.answer_refused(&about, done);
                        Ok(())
                    })
                })));
            }
            ClientFrame::Join { room_id, since, epoch } => {
                let (session, room_id, epoch) = (session.clone(), room_id.into_owned(), epoch.map(Cow::into_owned));
                return Ok(Some(deferred(move |connection| {
                    Box::pin(async move {
                        let (epoch, reference) = (epoch.as_deref(), about.reference.as_deref());
                        let done = connection.join(&session, &caller, &room_id, since, epoch, reference).await;
                        connection.answer_refused(&about, done);
                        Ok(())
                    })
                })));
            }
            ClientFrame::Typing { room_id, parent_id, on, user_id } => {
                let kind = typing(&caller, &room_id, parent_id.as_deref(), on);
                return Ok(self.signal(session, caller, kind, user_id.as_deref(), about));
            }
            ClientFrame::Signal { room_id, name, data, user_id } => {
                let kind = custom_signal(&caller, &room_id, name.into_owned(), data.get());
                return Ok(self.signal(session, caller, kind, user_id.as_deref(), about));
            }
        };
        self.answer_refused(&about, done.map_err(Refused::from));
        Ok(None)
    }

    /// Answers a rejected frame.
    fn answer_refused(&self, about: &Correlation, done: Result<(), Refused>) {
        match done {
            Ok(()) => {}
            Err(Refused::Error(error)) => self.send(&answers::error(about, &error)),
            Err(Refused::Here(code, message)) => self.send(&answers::early_error(about, code, message)),
        }
    }

    fn leave(&self, session: &Arc<Session>, caller: &Caller, room_id: &str, about: &Correlation) -> Result<(), Error> {
        let room_id = ops::room_id(caller, room_id)?;
        self.state.hub.leave(&session.subscriber, room_id);
        self.send(&ServerFrame::LeaveConfirmation { room_id, reference: about.reference() });
        Ok(())
    }

    fn post(&mut self, caller: &Caller, post: Post<'_>, about: &Correlation) -> Result<(), Error> {
        let room_id = ops::room_id(caller, &post.room_id)?;
        let author = post.user_id.map(|id| ops::user_id(&id)).transpose()?;
        let message = PostMessage {
            room_id,
            content: post.content.into_owned(),
            client_message_id: post.client_message_id.map(Cow::into_owned),
            author,
            idempotency: None,
        };
        let to = ack_to(&mut self.unanswered, &self.write_queue, about);
        ops::post_message_for(&self.state.chat, caller, message, to)
    }

    /// Submits a change for the caller or, deferred, for the user as whom the caller acts. A change that was not parsed is
    /// rejected.
    fn change<T: Send + 'static>(
        &mut self,
        caller: Arc<Caller>,
        user_id: Option<&str>,
        parsed: Result<T, Error>,
        about: Correlation,
        submit: fn(&mut Self, &Caller, T, &Correlation) -> Result<(), Error>,
    ) -> Option<Deferred> {
        let done = match (parsed, user_id.map(ops::user_id).transpose()) {
            (Ok(change), Ok(None)) => submit(self, &caller, change, &about),
            (Ok(change), Ok(user)) => {
                return Some(deferred(move |connection| {
                    Box::pin(async move {
                        let acting = ops::act_as(&connection.state.chat, &caller, user).await;
                        let done = acting.and_then(|caller| submit(connection, &caller, change, &about));
                        connection.answer_refused(&about, done.map_err(Refused::from));
                        Ok(())
                    })
                }));
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        self.answer_refused(&about, done.map_err(Refused::from));
        None
    }

    fn edit(&mut self, caller: &Caller, edit: EditMessage, about: &Correlation) -> Result<(), Error> {
        let to = ack_to(&mut self.unanswered, &self.write_queue, about);
        ops::edit_message_for(&self.state.chat, caller, edit, to)
    }

    fn delete(&mut self, caller: &Caller, (room, message): (RoomId, MessageId), about: &Correlation) -> Result<(), Error> {
        let to = ack_to(&mut self.unanswered, &self.write_queue, about);
        ops::delete_message_for(&self.state.chat, caller, room, message, to)
    }

    /// Sends a signal. Only errors are answered.
    fn signal(
        &self,
        session: &Session,
        caller: Arc<Caller>,
        kind: Result<SignalKind, Error>,
        user_id: Option<&str>,
        about: Correlation,
    ) -> Option<Deferred> {
        let from = Some(session.subscriber.id);
        let user = user_id.map(ops::user_id).transpose();
        let signal = kind.and_then(|kind| Ok(SendSignal { kind, user: user?, from }));
        match signal {
            Ok(signal) => Some(deferred(move |connection| {
                Box::pin(async move {
                    let done = ops::signal(&connection.state.chat, &caller, signal).await;
                    connection.answer_refused(&about, done.map(drop).map_err(Refused::from));
                    Ok(())
                })
            })),
            Err(error) => {
                self.answer_refused(&about, Err(error.into()));
                None
            }
        }
    }

    async fn join(
        &mut self,
        session: &Arc<Session>,
        caller: &Caller,
        room_id: &str,
        since: Option<u64>,
        epoch: Option<&str>,
        reference: Option<&str>,
    ) -> Result<(), Refused> {
        let room = ops::room_id(caller, room_id)?;
        let access = ops::authorize_join(caller, room)?;
        let subscriber = &session.subscriber;
        if self.mode == Mode::OneRoom {
            // A caller who may not join the room stays in the previous one.
            self.state.chat.store.room(room, access).await?;
            for other in subscriber.rooms().into_iter().filter(|other| *other != room) {
                self.state.hub.leave(subscriber, other);
            }
        }
        if !subscriber.is_in(room) && subscriber.room_count() >= self.state.chat.limits.rooms_per_connection {
            let message = "this connection has joined as many rooms as it may: leave some, or open another";
            return Err(Refused::Here("too_many_rooms", message));
        }
        let rights = {
            let (subscriber, chat) = (subscriber.clone(), self.state.chat.clone());
            move || {
                chat.authority.check_fresh()?;
                ops::authorize_join(&subscriber.caller(), room)
            }
        };
        if let Some(access) = self.replay(session, Join { room, rights: &rights, since, epoch, reference }).await? {
            // A change of rights during the join did not include this room.
            self.state.sessions.keep_rights(session, room, access).await;
        }
        Ok(())
    }

    /// Joins, however long the replay takes.
    async fn replay(&mut self, session: &Arc<Session>, request: Join<'_>) -> Result<Option<Access>, Error> {
        let state = self.state.clone();
        let caller = session.subscriber.caller();
        let log = InTurn { chat: &state.chat, caller: &caller };
        let joining =
            join(&state.hub, &log, &session.subscriber, &state.chat.limits, state.sessions.times.no_progress, request);
        tokio::pin!(joining);
        loop {
            tokio::select! {
                biased;
                joined = &mut joining => return joined,
                // The client resumes after the restart: a long replay must not delay the shutdown.
                () = state.stopping.cancelled() => return Ok(None),
                // The connection is not read meanwhile; the replay itself closes a client that does not read.
                () = sleep(STILL_THERE) => state.sessions.heard(session),
            }
        }
    }
}

/// Makes the recipient of a write's acknowledgement. The write counts as unanswered once it is submitted.
fn ack_to<'a>(
    unanswered: &'a mut Option<Box<SendWindow>>,
    write_queue: &'a Arc<WriteQueue>,
    about: &'a Correlation,
) -> impl FnOnce() -> AckTo + 'a {
    let window = unanswered.get_or_insert_default();
    move || AckTo::new(PendingAck::new(about.clone(), write_queue.clone(), window))
}

/// The ids of a message and its room.
fn message_ids(caller: &Caller, room_id: &str, message_id: &str) -> Result<(RoomId, MessageId), Error> {
    Ok((ops::room_id(caller, room_id)?, ops::message_id(message_id)))
}

/// The parameters of an `edit` frame.
fn edit(
    caller: &Caller,
    (room_id, message_id): (&str, &str),
    content: String,
    if_version: Option<u64>,
) -> Result<EditMessage, Error> {
    let (room_id, message_id) = message_ids(caller, room_id, message_id)?;
    let if_version = if_version.map(|version| Version::new(version.try_into().unwrap_or(u32::MAX)));
    Ok(EditMessage { room_id, message_id, content, if_version })
}

/// The signal of a `typing` frame.
fn typing(caller: &Caller, room_id: &str, parent_id: Option<&str>, on: Option<bool>) -> Result<SignalKind, Error> {
    let parent_id = parent_id.map(ops::parent_id).transpose()?;
    Ok(SignalKind::Typing { room_id: ops::room_id(caller, room_id)?, parent_id, on: on.unwrap_or(true) })
}

/// The signal of a `signal` frame.
fn custom_signal(caller: &Caller, room_id: &str, name: String, data: &str) -> Result<SignalKind, Error> {
    let (name, data) = (SignalName::parse(name)?, SignalData::parse(data)?);
    Ok(SignalKind::Custom { room_id: ops::room_id(caller, room_id)?, name, data })
}

/// A `message` frame.
struct Post<'a> {
    room_id: Cow<'a, str>,
    content: Cow<'a, str>,
    client_message_id: Option<Cow<'a, str>>,
    user_id: Option<Cow<'a, str>>,
}

/// Why a frame is rejected.
pub(super) enum Refused {
    Error(Error),
    /// A reason specific to the WebSocket front door: its code, and what to do.
    Here(&'static str, &'static str),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
