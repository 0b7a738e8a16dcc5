//! One connection, from the upgrade to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chatsphere_core::text::check_bytes;
use chatsphere_core::{Caller, ConnectionId, Error, TokenRefusal};
use chatsphere_protocol::PROTOCOL_VERSION;
use chatsphere_protocol::frames::{ClientFrame, Hello, HelloLimits, Incoming as ClientIncoming, ServerFrame};
use chatsphere_realtime::frame::encode;
use chatsphere_realtime::websocket::{self, CloseCode, Decoder, Incoming};
use chatsphere_realtime::{Listener, Outbound, Socket};
use rand::Rng;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::answers::{self, About};
use super::flood::Flood;
use super::reader::Reader;
use super::sessions::{Session, close_code};
use super::unanswered::Unanswered;
use super::upgrade::{Credentials, authenticate_brought};
use super::writer::Writer;
use super::{Mode, WsState};
use crate::listener::{Taken, TakenStream};

/// Reads, answers and writes until the connection ends.
pub(super) async fn run(state: Arc<WsState>, taken: Taken, mode: Mode, credentials: Credentials) {
    // The slot is held to the end: this connection counts among those that the listener allows.
    let Taken { stream, read_ahead, slot: _slot } = taken;
    let (mut reader, mut writer, socket) = split(stream);
    let outbound = Arc::new(Outbound::new(socket, state.chat.limits.outbound_queue_bytes));
    let patience = state.sessions.times.close;
    let mut connection = Connection::new(state, outbound.clone(), mode);
    {
        let writing = writer.run(&outbound, patience);
        tokio::pin!(writing);
        tokio::select! {
            biased;
            () = connection.converse(credentials, &mut reader, read_ahead) => {
                outbound.close(CloseCode::NORMAL, "");
                let _ = timeout(patience, &mut writing).await;
            }
            () = &mut writing => {}
        }
    }
    connection.end();
    // The server closes first (RFC 6455, section 7.1.1), but its own half alone: closing while bytes are still on their way in
    // would reset the connection, and the close frame could be lost with it.
    let _ = timeout(patience, writer.shutdown()).await;
    let _ = timeout(patience, discard(&mut reader)).await;
}

async fn discard(reader: &mut Reader) {
    let mut buffer = BytesMut::new();
    while matches!(reader.read(&mut buffer).await, Ok(1..)) {
        buffer.clear();
    }
}

fn split(stream: TakenStream) -> (Reader, Writer, Socket) {
    match stream {
        TakenStream::Plain(socket) => {
            let socket = Arc::new(socket);
            (Reader::Direct(socket.clone()), Writer::Direct(socket.clone()), Socket::Direct(socket))
        }
        TakenStream::Other(stream) => {
            let (read, write) = tokio::io::split(stream);
            (Reader::Stream(Box::new(read)), Writer::Stream(Box::new(write)), Socket::Queued)
        }
    }
}

/// What one connection's task knows.
pub(super) struct Connection {
    pub(super) state: Arc<WsState>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) mode: Mode,
    /// Set once it is authenticated.
    pub(super) session: Option<Arc<Session>>,
    /// Messages that were submitted and are not answered yet.
    pub(super) unanswered: Option<Arc<Unanswered>>,
    flood: Flood,
    decoder: Decoder,
}

/// The connection is at its end.
pub(super) struct Ended;

impl Connection {
    fn new(state: Arc<WsState>, outbound: Arc<Outbound>, mode: Mode) -> Self {
        let flood = Flood::new(&state.chat.limits);
        let decoder = Decoder::new(state.chat.limits.frame_bytes);
        Self { state, outbound, mode, session: None, unanswered: None, flood, decoder }
    }

    /// Authenticates, then reads frames and answers them, until either side ends.
    async fn converse(&mut self, credentials: Credentials, reader: &mut Reader, read_ahead: Bytes) {
        let mut buffer = BytesMut::from(&*read_ahead);
        let begun = match credentials {
            Credentials::Caller(caller) => self.welcome(caller).await,
            Credentials::Refused(error) => self.refuse(&About::default(), &error),
            Credentials::Origin => {
                let message = "pages of this origin may not connect: see CHATSPHERE_ALLOWED_ORIGINS";
                self.send(&answers::refusal(&About::default(), "origin_not_allowed", message));
                self.close(CloseCode::ORIGIN_REFUSED, "origin_not_allowed")
            }
            Credentials::Awaited => self.await_auth(reader, &mut buffer).await,
        };
        if begun.is_err() {
            return;
        }
        let stopping = self.state.stopping.clone();
        let stopping = stopping.cancelled();
        tokio::pin!(stopping);
        loop {
            if self.take_frames(&mut buffer).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut stopping => return self.finish().await,
                read = reader.read(&mut buffer) => match (read, &self.session) {
                    (Ok(1..), Some(session)) => self.state.sessions.heard(session),
                    _ => return self.outbound.abandon(),
                },
            }
        }
    }

    /// Reads until the first frames have brought a token that is accepted.
    async fn await_auth(&mut self, reader: &mut Reader, buffer: &mut BytesMut) -> Result<(), Ended> {
        let deadline = Instant::now() + self.state.sessions.times.authenticate;
        let stopping = self.state.stopping.clone();
        loop {
            self.take_frames(buffer).await?;
            if self.session.is_some() {
                return Ok(());
            }
            let read = tokio::select! {
                () = stopping.cancelled() => return self.close(CloseCode::GOING_AWAY, &reconnect_hint()),
                read = timeout_at(deadline, reader.read(buffer)) => read,
            };
            match read {
                Ok(Ok(1..)) => {}
                Ok(_) => {
                    self.outbound.abandon();
                    return Err(Ended);
                }
                Err(_) => {
                    let message = "authenticate within 5 s: send {\"type\":\"auth\",\"token\":…} first";
                    self.send(&answers::refusal(&About::default(), "not_authenticated", message));
                    return self.close(CloseCode::NOT_AUTHENTICATED, "not_authenticated");
                }
            }
        }
    }

    /// Handles every whole frame that has arrived.
    async fn take_frames(&mut self, buffer: &mut BytesMut) -> Result<(), Ended> {
        loop {
            if self.outbound.is_ended() {
                return Err(Ended);
            }
            let incoming = match self.decoder.decode(buffer) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(error) => return self.close(error.close_code(), &error.to_string()),
            };
            if self.flood.is_flooded(Instant::now()) {
                let message = "far too many frames: connect again and send more slowly";
                self.send(&answers::refusal(&About::default(), "flood", message));
                return self.close(CloseCode::FLOOD, "flood");
            }
            match incoming {
                Incoming::Text(text) => self.take_text(&text).await?,
                Incoming::Binary(_) => return self.close(CloseCode::UNSUPPORTED_DATA, "send JSON as text frames"),
                Incoming::Ping(payload) => self.outbound.send(websocket::pong(&payload)),
                Incoming::Pong(_) => {}
                Incoming::Close { code, .. } => {
                    return self.close(code.unwrap_or(CloseCode::NORMAL), "");
                }
            }
            if let Some(unanswered) = &self.unanswered {
                unanswered.fewer_than(self.state.chat.limits.unanswered_sends).await;
            }
        }
        if buffer.is_empty() {
            // An idle connection holds no buffer.
            *buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Reads a frame and has it carried out. Every answer repeats its `ref`.
    async fn take_text(&mut self, text: &Bytes) -> Result<(), Ended> {
        let Ok(text) = std::str::from_utf8(text) else {
            return self.close(CloseCode::INVALID_PAYLOAD, "not UTF-8");
        };
        let incoming = match ClientIncoming::parse(text) {
            Ok(incoming) => incoming,
            Err(error) => {
                self.send(&answers::unreadable(error, self.state.chat.limits.ref_bytes));
                return Ok(());
            }
        };
        let limits = &self.state.chat.limits;
        let mut about = About::new(&incoming.frame, limits);
        if let Some(reference) = incoming.reference {
            if let Err(invalid) = check_bytes("ref", &reference, limits.ref_bytes) {
                self.send(&answers::error(&about, &invalid.into()));
                return Ok(());
            }
            about.reference = Some(reference.into_owned());
        }
        match (self.session.clone(), incoming.frame) {
            (None, ClientFrame::Auth { token }) => match authenticate_brought(&self.state, &token).await {
                Ok(caller) => {
                    self.welcome(caller).await?;
                    if let Some(session) = self.session.clone() {
                        self.auth_ok(&session.listener.caller(), &about);
                    }
                    Ok(())
                }
                Err(error) => self.refuse(&about, &error),
            },
            (None, _) => {
                let message = "authenticate first: send {\"type\":\"auth\",\"token\":…}";
                self.send(&answers::refusal(&about, "not_authenticated", message));
                Ok(())
            }
            (Some(session), frame) => {
                self.request(&session, frame, about).await;
                Ok(())
            }
        }
    }

    /// Takes an authenticated caller in and says hello.
    async fn welcome(&mut self, caller: Arc<Caller>) -> Result<(), Ended> {
        let limits = &self.state.chat.limits;
        let id = ConnectionId::new(self.state.chat.clock.now());
        let hello = Hello {
            user_id: caller.user.id,
            connection_id: id,
            heartbeat_ms: u64::try_from(limits.heartbeat.as_millis()).unwrap_or(u64::MAX),
            protocol: PROTOCOL_VERSION,
            expires_at: caller.expires_at,
            limits: HelloLimits::from(limits),
        };
        let listener = Arc::new(Listener::new(id, caller.clone(), self.outbound.clone()));
        let Some(session) = self.state.sessions.enter(listener.clone()) else {
            let message = "this user holds too many connections on this node: close some";
            self.send(&answers::refusal(&About::default(), "too_many_connections", message));
            return self.close(CloseCode::FLOOD, "too_many_connections");
        };
        self.session = Some(session.clone());
        tracing::debug!(connection = %id, user = %caller.user.id, "connected");
        // Between the look at the token and the entry above a revocation may have passed this connection by.
        if let Err(error) = self.state.sessions.judge(&session).await {
            return self.refuse(&About::default(), &error);
        }
        if self.outbound.is_ended() {
            return Err(Ended);
        }
        self.send(&ServerFrame::Hello(hello));
        Ok(())
    }

    /// Answers what was accepted, then says that the server goes away.
    async fn finish(&mut self) {
        if let Some(unanswered) = &self.unanswered {
            unanswered.fewer_than(1).await;
        }
        self.outbound.close(CloseCode::GOING_AWAY, &reconnect_hint());
    }

    /// Tells why a token is refused, and closes.
    fn refuse(&self, about: &About, error: &Error) -> Result<(), Ended> {
        self.send(&answers::error(about, error));
        match error {
            Error::Token(refusal) => self.close(close_code(*refusal), refusal.code()),
            _ => self.close(CloseCode::TRY_AGAIN_LATER, error.code()),
        }
    }

    /// Closes if the caller's token has expired since it was shown.
    pub(super) fn check_expiry(&self, caller: &Caller) -> Result<(), Error> {
        let now = self.state.chat.clock.now();
        self.state.chat.authority.check_fresh(now)?;
        if caller.expires_at <= now { Err(TokenRefusal::Expired.into()) } else { Ok(()) }
    }

    fn close(&self, code: CloseCode, reason: &str) -> Result<(), Ended> {
        self.outbound.close(code, reason);
        Err(Ended)
    }

    pub(super) fn send(&self, frame: &impl Serialize) {
        if let Some(frame) = encode(frame) {
            self.outbound.send(frame);
        }
    }

    fn end(&mut self) {
        if let Some(session) = self.session.take() {
            self.state.sessions.leave(&session);
            tracing::debug!(connection = %session.listener.id, "disconnected");
        }
    }
}

/// The reason of a 1001: when to come back, spread so that not all come at once.
fn reconnect_hint() -> String {
    let delay = Duration::from_millis(rand::rng().random_range(200..=2_000));
    format!("the server is restarting: reconnect in {} ms", delay.as_millis())
}
