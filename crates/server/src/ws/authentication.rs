//! Authentication of a connection: by the handshake or the first `auth` frame, and later by a newer token.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Caller, ConnectionId, Error, Forbidden, TokenRefusal};
use chatsphere_net::{LATE, in_time};
use chatsphere_protocol::PROTOCOL_VERSION;
use chatsphere_protocol::close;
use chatsphere_protocol::frames::{ClientFrame, Hello, ServerFrame};
use chatsphere_realtime::Subscriber;
use tokio::time::Instant;

use super::answers::{self, Correlation};
use super::connection::{Connection, Ended};
use super::connection_registry::{Session, close_code, close_refused};
use super::frames::{Deferred, Next, deferred};
use super::requests::Refused;
use super::upgrade::{Credentials, authenticate_brought};
use crate::wire::hello_limits;

impl Connection {
    /// Answers the handshake and authenticates.
    pub(super) async fn open(&mut self, credentials: Credentials, answer: Bytes) -> Result<(), Ended> {
        if let Credentials::Caller(caller) = credentials {
            // The answer to the handshake and `hello` leave in one write.
            let held = !answer.is_empty() && self.write_queue.cork(answer);
            let welcomed = self.welcome(caller).await;
            if held {
                self.write_queue.uncork();
            }
            return welcomed;
        }
        if !answer.is_empty() {
            self.write_queue.send(answer);
        }
        match credentials {
            Credentials::Refused(error) => self.refuse(&Correlation::default(), &error),
            Credentials::Origin => {
                let client = self.client.map(tracing::field::display);
                tracing::info!(client, code = "origin_not_allowed", "a WebSocket was rejected");
                let message = "pages of this origin may not connect: see CHATSPHERE_ALLOWED_ORIGINS";
                self.send(&answers::early_error(&Correlation::default(), "origin_not_allowed", message));
                self.close(close::ORIGIN, "origin_not_allowed")
            }
            Credentials::ClientInQuery => {
                let message = "a CLIENT token does not belong in a URL, which ends up in logs and histories: send it as \
                               `Authorization: Bearer <token>`, as the subprotocol `bearer.<token>` beside `chatsphere.v1`, \
                               or in a first frame {\"type\":\"auth\",\"token\":…}; and \
                               replace this one, it may have been logged";
                let code = TokenRefusal::Invalid.code();
                self.send(&answers::early_error(&Correlation::default(), code, message));
                self.close(close::TOKEN_INVALID, code)
            }
            Credentials::Awaited | Credentials::Caller(_) => self.await_auth().await,
        }
    }

    /// Reads frames until one brings a token that is accepted.
    async fn await_auth(&mut self) -> Result<(), Ended> {
        let most = self.state.sessions.times.authenticate;
        let mut deadline = Instant::now() + most;
        let mut is_last = false;
        let stopping = self.state.stopping.clone();
        loop {
            match self.take_frames()? {
                Next::Read => {}
                next => {
                    self.wait_for(next).await?;
                    if self.session.is_some() {
                        return Ok(());
                    }
                    if Instant::now() < deadline {
                        continue;
                    }
                }
            }
            let asked = Instant::now();
            let left = deadline.saturating_duration_since(asked);
            if left.is_zero() && std::mem::replace(&mut is_last, true) {
                // Everything received by the deadline was processed. Waiting for more would have no end.
                return self.close_unauthenticated();
            }
            let read = tokio::select! {
                () = stopping.cancelled() => return self.close_for_restart(),
                read = in_time(left, self.reader.read(&mut self.buffer)) => read,
            };
            match read {
                Ok(Ok(1..)) => {
                    // Only the read is measured: a pause made by this server is no suspension of the process.
                    if asked.elapsed() > left + LATE {
                        // The process was suspended.
                        deadline = Instant::now() + most;
                        is_last = false;
                    }
                }
                Ok(_) => {
                    self.write_queue.abandon();
                    return Err(Ended);
                }
                Err(_) => return self.close_unauthenticated(),
            }
        }
    }

    fn close_unauthenticated(&self) -> Result<(), Ended> {
        let seconds = self.state.sessions.times.authenticate.as_secs_f64();
        let message = format!("authenticate within {seconds} s: send {{\"type\":\"auth\",\"token\":…}} first");
        self.send(&answers::early_error(&Correlation::default(), "not_authenticated", message));
        self.close(close::NOT_AUTHENTICATED, "not_authenticated")
    }

    /// Handles a frame of an unauthenticated connection. Only `auth` is accepted.
    pub(super) fn first_request(&mut self, frame: ClientFrame<'_>, about: Correlation) -> Result<Option<Deferred>, Ended> {
        let ClientFrame::Auth { token } = frame else {
            let message = "authenticate first: send {\"type\":\"auth\",\"token\":…}";
            self.send(&answers::early_error(&about, "not_authenticated", message));
            self.count(0, 1)?;
            return Ok(None);
        };
        let token = token.into_owned();
        Ok(Some(deferred(move |connection| {
            Box::pin(async move {
                match authenticate_brought(&connection.state, &token).await {
                    Ok(caller) => {
                        connection.welcome(caller).await?;
                        connection.auth_ok(&about);
                        Ok(())
                    }
                    Err(error) => connection.refuse(&about, &error),
                }
            })
        })))
    }

    /// Registers an authenticated connection and sends `hello`.
    async fn welcome(&mut self, caller: Arc<Caller>) -> Result<(), Ended> {
        let limits = &self.state.chat.limits;
        let id = ConnectionId::new(self.state.chat.clock.now());
        let hello = Hello {
            user_id: caller.user.id,
            connection_id: id,
            heartbeat_ms: u64::try_from(limits.heartbeat.as_millis()).unwrap_or(u64::MAX),
            protocol: PROTOCOL_VERSION,
            expires_at: caller.expires_at,
            limits: hello_limits(limits),
        };
        self.write_queue.count_for(self.state.chat.owner(&caller));
        let subscriber = Arc::new(Subscriber::new(id, caller.clone(), self.write_queue.clone()));
        let Some(session) = self.state.sessions.enter(subscriber.clone()) else {
            let message = "this user holds too many connections on this node: close some";
            self.send(&answers::early_error(&Correlation::default(), "too_many_connections", message));
            return self.close(close::FLOOD, "too_many_connections");
        };
        self.session = Some(session.clone());
        let (user, token, client) = (caller.user.id, caller.token_id, self.client.map(tracing::field::display));
        tracing::debug!(connection = %id, %user, %token, client, "a WebSocket was opened");
        self.is_limited = !caller.may_name_others();
        // A revocation between the check of the token and the registration would have missed this connection.
        if let Err(error) = self.state.sessions.judge(&session).await {
            return self.refuse(&Correlation::default(), &error);
        }
        if self.write_queue.is_ended() {
            return Err(Ended);
        }
        self.send(&ServerFrame::Hello(hello));
        Ok(())
    }

    /// Sends the reason for rejecting a token, and closes.
    fn refuse(&self, about: &Correlation, error: &Error) -> Result<(), Ended> {
        tracing::info!(client = self.client.map(tracing::field::display), code = error.code(), "a WebSocket was rejected");
        self.send(&answers::error(about, error));
        match error {
            Error::Token(refusal) => self.close(close_code(*refusal), refusal.code()),
            _ => self.close(close::TRY_AGAIN_LATER, error.code()),
        }
    }

    /// Replaces the connection's token by another one of the same user.
    pub(super) async fn authenticate_again(
        &mut self,
        session: &Arc<Session>,
        token: &str,
        about: &Correlation,
    ) -> Result<(), Refused> {
        let caller = authenticate_brought(&self.state, token).await?;
        if !session.subscriber.caller().is(caller.user.id) {
            let message = "this connection is another user's: open another with this token";
            return Err(Refused::Here(Forbidden::NotYourself.code(), message));
        }
        self.is_limited = !caller.may_name_others();
        self.state.sessions.adopt(session, caller).await?;
        self.auth_ok(about);
        Ok(())
    }

    /// Answers an `auth` that was accepted.
    fn auth_ok(&self, about: &Correlation) {
        let Some(session) = &self.session else { return };
        let caller = session.subscriber.caller();
        let (user_id, expires_at) = (caller.user.id, caller.expires_at);
        self.send(&ServerFrame::AuthOk { user_id, expires_at, reference: about.reference() });
    }

    /// The connection's caller, if its token is still valid. A connection whose token has expired is closed.
    pub(super) fn judged(&self, session: &Session, about: &Correlation) -> Option<Arc<Caller>> {
        let caller = session.subscriber.caller();
        match self.check_expiry(&caller) {
            Ok(()) => return Some(caller),
            Err(Error::Token(refusal)) => close_refused(&session.subscriber, refusal),
            Err(error) => self.send(&answers::error(about, &error)),
        }
        None
    }

    fn check_expiry(&self, caller: &Caller) -> Result<(), Error> {
        self.state.chat.authority.check_fresh()?;
        let now = self.state.chat.clock.now();
        if caller.expires_at <= now { Err(TokenRefusal::Expired.into()) } else { Ok(()) }
    }
}
