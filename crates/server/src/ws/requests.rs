//! What each frame of an authenticated connection does: decode, call one op, encode.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::ops::{self, PostMessage};
use chatsphere_core::store::OnAppended;
use chatsphere_core::{Access, Caller, Denial, Error};
use chatsphere_protocol::frames::{ClientFrame, ServerFrame};
use chatsphere_realtime::{Join, join};
use tokio::time::sleep;

use super::Mode;
use super::answers::{self, About};
use super::in_turn::InTurn;
use super::session::Connection;
use super::sessions::{Session, close_refused};
use super::unanswered::Sender;
use super::upgrade::authenticate_brought;

/// How often a connection whose replay is under way counts as heard.
const STILL_THERE: Duration = Duration::from_secs(5);

impl Connection {
    /// Carries out a frame at once: all but those of [`Connection::long_request`].
    pub(super) fn request(&mut self, session: &Arc<Session>, frame: ClientFrame<'_>, about: &About) {
        let Some(caller) = self.judged(session, about) else { return };
        let done = match frame {
            ClientFrame::Ping => {
                self.send(&ServerFrame::Pong { reference: about.reference() });
                Ok(())
            }
            ClientFrame::Message { room_id, content, client_message_id, user_id } => {
                self.post(&caller, Post { room_id, content, client_message_id, user_id }, about)
            }
            ClientFrame::Leave { room_id } => self.leave(session, &caller, &room_id, about),
            ClientFrame::Auth { .. } | ClientFrame::Join { .. } => Ok(()),
        };
        if let Err(error) = done {
            self.send(&answers::error(about, &error));
        }
    }

    /// Carries out a frame that needs the store's answer: `auth`, `join`.
    pub(super) async fn long_request(&mut self, session: &Arc<Session>, frame: ClientFrame<'_>, about: &About) {
        let Some(caller) = self.judged(session, about) else { return };
        let done = match frame {
            ClientFrame::Auth { token } => self.authenticate_again(session, &token, about).await,
            ClientFrame::Join { room_id, since, epoch } => {
                let epoch = epoch.as_deref();
                self.join(session, &caller, &room_id, since, epoch, about.reference.as_deref()).await
            }
            ClientFrame::Ping | ClientFrame::Message { .. } | ClientFrame::Leave { .. } => Ok(()),
        };
        match done {
            Ok(()) => {}
            Err(Refused::Error(error)) => self.send(&answers::error(about, &error)),
            Err(Refused::Here(code, message)) => self.send(&answers::refusal(about, code, message)),
        }
    }

    /// The caller, if frames of it are still carried out.
    fn judged(&self, session: &Arc<Session>, about: &About) -> Option<Arc<Caller>> {
        let caller = session.listener.caller();
        match self.check_expiry(&caller) {
            Ok(()) => return Some(caller),
            Err(Error::Token(refusal)) => close_refused(&session.listener, refusal),
            Err(error) => self.send(&answers::error(about, &error)),
        }
        None
    }

    /// Answers an `auth` that was accepted.
    pub(super) fn auth_ok(&self, caller: &Caller, about: &About) {
        let (user_id, expires_at) = (caller.user.id, caller.expires_at);
        self.send(&ServerFrame::AuthOk { user_id, expires_at, reference: about.reference() });
    }

    async fn authenticate_again(&mut self, session: &Arc<Session>, token: &str, about: &About) -> Result<(), Refused> {
        let listener = &session.listener;
        let caller = authenticate_brought(&self.state, token).await?;
        if !listener.caller().is(caller.user.id) {
            let message = "this connection is another user's: open another with this token";
            return Err(Refused::Here(Denial::NotYourself.code(), message));
        }
        self.is_limited = !caller.may_name_others();
        self.state.sessions.adopt(session, caller).await?;
        self.auth_ok(&listener.caller(), about);
        Ok(())
    }

    fn leave(&self, session: &Arc<Session>, caller: &Caller, room_id: &str, about: &About) -> Result<(), Error> {
        let room_id = ops::room_id(caller, room_id)?;
        self.state.hub.leave(&session.listener, room_id);
        self.send(&ServerFrame::LeaveConfirmation { room_id, reference: about.reference() });
        Ok(())
    }

    fn post(&mut self, caller: &Caller, post: Post<'_>, about: &About) -> Result<(), Error> {
        let room_id = ops::room_id(caller, &post.room_id)?;
        let author = post.user_id.map(|id| ops::user_id(&id)).transpose()?;
        let message = PostMessage {
            room_id,
            content: post.content.into_owned(),
            client_message_id: post.client_message_id.map(Cow::into_owned),
            author,
            idempotency: None,
        };
        let unanswered = self.unanswered.get_or_insert_default();
        let sender = || -> Box<dyn OnAppended> { Box::new(Sender::new(about.clone(), self.outbound.clone(), unanswered)) };
        ops::post_message_for(&self.state.chat, caller, message, sender)
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
        let listener = &session.listener;
        if self.mode == Mode::OneRoom {
            // Whoever may not join stays where they are.
            self.state.chat.store.room(room, access).await?;
            for other in listener.rooms().into_iter().filter(|other| *other != room) {
                self.state.hub.leave(listener, other);
            }
        }
        if !listener.is_in(room) && listener.room_count() >= self.state.chat.limits.rooms_per_connection {
            let message = "this connection has joined as many rooms as it may: leave some, or open another";
            return Err(Refused::Here("too_many_rooms", message));
        }
        let rights = {
            let (listener, chat) = (listener.clone(), self.state.chat.clone());
            move || {
                chat.authority.check_fresh()?;
                ops::authorize_join(&listener.caller(), room)
            }
        };
        if let Some(access) = self.replay(session, Join { room, rights: &rights, since, epoch, reference }).await? {
            // Until it was seated, the room was not among those that a change of rights looks at.
            self.state.sessions.keep_rights(session, room, access).await;
        }
        Ok(())
    }

    /// Joins, however long the replay takes.
    async fn replay(&mut self, session: &Arc<Session>, request: Join<'_>) -> Result<Option<Access>, Error> {
        let state = self.state.clone();
        let caller = session.listener.caller();
        let log = InTurn { chat: &state.chat, caller: &caller };
        let joining = join(&state.hub, &log, &session.listener, &state.chat.limits, state.sessions.times.no_progress, request);
        tokio::pin!(joining);
        loop {
            tokio::select! {
                biased;
                joined = &mut joining => return joined,
                // Who comes back resumes: a long replay must not hold a stop up.
                () = state.stopping.cancelled() => return Ok(None),
                // Nothing is read meanwhile; the replay itself gives up on a client that takes nothing.
                () = sleep(STILL_THERE) => state.sessions.heard(session),
            }
        }
    }
}

/// A `message` frame.
struct Post<'a> {
    room_id: Cow<'a, str>,
    content: Cow<'a, str>,
    client_message_id: Option<Cow<'a, str>>,
    user_id: Option<Cow<'a, str>>,
}

/// Why a frame is refused.
enum Refused {
    Error(Error),
    /// For a reason that only this door knows: its code, and what to do.
    Here(&'static str, &'static str),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
