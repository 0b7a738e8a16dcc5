//! One connection, from the upgrade to its end.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chatsphere_core::text::check_bytes;
use chatsphere_core::{Caller, ConnectionId, Error, TokenRefusal};
use chatsphere_net::listener::{Slot, Taken, TakenStream};
use chatsphere_net::websocket::{self, CloseCode, Decoder, Incoming};
use chatsphere_net::{LATE, in_time};
use chatsphere_protocol::PROTOCOL_VERSION;
use chatsphere_protocol::frames::{ClientFrame, Hello, Incoming as ClientIncoming, ServerFrame};
use chatsphere_realtime::frame::encode;
use chatsphere_realtime::{Listener, Outbound, Socket};
use rand::Rng;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::answers::{self, About};
use super::closes;
use super::flood::Flood;
use super::reader::Reader;
use super::sessions::{Session, close_code};
use super::unanswered::Unanswered;
use super::upgrade::{Credentials, authenticate_brought};
use super::writer::Writer;
use super::{Mode, WsState};
use crate::wire::hello_limits;

/// Where a new connection begins.
pub(super) struct Opening {
    pub(super) taken: Taken,
    pub(super) mode: Mode,
    pub(super) credentials: Credentials,
    /// What is to be written before anything else: the answer to the handshake, unless that has gone out.
    pub(super) answer: Bytes,
    /// The client's address, as far as proxies are trusted.
    pub(super) client: Option<IpAddr>,
}

/// Reads, answers and writes until the connection ends.
///
/// Its future is as large as what an idle connection needs, and there are many of those: whatever is rare is a future of its
/// own, which lives as long as it takes.
pub(super) fn run(state: Arc<WsState>, opening: Opening) -> impl Future<Output = ()> + Send {
    let beginning = Box::pin(begin(state, opening));
    async move {
        let mut live = beginning.await;
        if live.connection.session.is_some() {
            let Live { connection, writer, .. } = &mut *live;
            let patience = connection.state.sessions.times.close;
            let outbound = connection.outbound.clone();
            tokio::select! {
                biased;
                () = connection.converse() => {}
                () = writer.run(&outbound, patience) => {}
            }
        }
        Box::pin(end(live)).await;
    }
}

/// A connection that was taken over, in one piece of memory: its future would hold it twice.
struct Live {
    connection: Connection,
    writer: Writer,
    /// Held to the end: this connection counts among those that the listener allows.
    _slot: Option<Arc<Slot>>,
}

/// Takes the socket over and lets the client show who it is. No session afterwards if it is not to go on.
async fn begin(state: Arc<WsState>, opening: Opening) -> Box<Live> {
    let Opening { taken: Taken { stream, read_ahead, slot }, mode, credentials, answer, client } = opening;
    let (reader, mut writer, socket) = split(stream);
    let outbound = Arc::new(Outbound::new(socket, state.chat.limits.outbound_queue_bytes));
    let patience = state.sessions.times.close;
    let mut connection = Connection::new(state, outbound.clone(), mode, reader, BytesMut::from(&*read_ahead));
    connection.client = client;
    let begun = tokio::select! {
        biased;
        begun = connection.open(credentials, answer) => begun,
        () = writer.run(&outbound, patience) => Err(Ended),
    };
    if begun.is_err() {
        connection.leave_sessions();
    }
    Box::new(Live { connection, writer, _slot: slot })
}

/// Lets the last frames out, and waits a little for the client to close too.
async fn end(mut live: Box<Live>) {
    let Live { connection, writer, .. } = &mut *live;
    let patience = connection.state.sessions.times.close;
    let outbound = connection.outbound.clone();
    connection.tell_end(outbound.closing());
    outbound.close(CloseCode::NORMAL, "");
    let _ = timeout(patience, writer.run(&outbound, patience)).await;
    connection.leave_sessions();
    // The server closes first (RFC 6455, section 7.1.1), but its own half alone: closing while bytes are still on their way in
    // would reset the connection, and the close frame could be lost with it.
    let _ = timeout(patience, writer.shutdown()).await;
    let _ = timeout(patience, discard(&mut connection.reader)).await;
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
            (Reader::Stream(Box::new(read)), Writer::Stream { stream: Box::new(write), taken: VecDeque::new() }, Socket::Queued)
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
    pub(super) unanswered: Option<Box<Unanswered>>,
    client: Option<IpAddr>,
    /// Whether its frames are counted: not so those of an application's backend.
    pub(super) is_limited: bool,
    reader: Reader,
    /// What was read and is no whole frame yet.
    buffer: BytesMut,
    /// When the first byte came of a message that is not whole yet, in milliseconds since the node started; 0 if there is none.
    began_at: u64,
    flood: Flood,
    decoder: Decoder,
}

/// The connection is at its end.
pub(super) struct Ended;

/// What has to be waited for before the next frame is looked at.
enum Then {
    /// More bytes: no whole frame is left.
    Read,
    /// A frame that can't be carried out at once, and then a rest.
    CarryOut(Bytes, Duration),
    /// An answer to one of the messages sent.
    Answer,
    /// A rest, since frames came too fast.
    Rest(Duration),
}

impl Connection {
    fn new(state: Arc<WsState>, outbound: Arc<Outbound>, mode: Mode, reader: Reader, buffer: BytesMut) -> Self {
        let decoder = Decoder::new(state.chat.limits.frame_bytes);
        Self {
            state,
            outbound,
            mode,
            session: None,
            unanswered: None,
            client: None,
            is_limited: true,
            reader,
            buffer,
            began_at: 0,
            flood: Flood::default(),
            decoder,
        }
    }

    /// Answers the handshake and authenticates.
    async fn open(&mut self, credentials: Credentials, answer: Bytes) -> Result<(), Ended> {
        if let Credentials::Caller(caller) = credentials {
            // In one write with what follows.
            let held = !answer.is_empty() && self.outbound.hold(answer);
            let welcomed = self.welcome(caller).await;
            if held {
                self.outbound.release();
            }
            return welcomed;
        }
        if !answer.is_empty() {
            self.outbound.send(answer);
        }
        match credentials {
            Credentials::Refused(error) => self.refuse(&About::default(), &error),
            Credentials::Origin => {
                let client = self.client.map(tracing::field::display);
                tracing::info!(client, code = "origin_not_allowed", "a WebSocket was refused");
                let message = "pages of this origin may not connect: see CHATSPHERE_ALLOWED_ORIGINS";
                self.send(&answers::refusal(&About::default(), "origin_not_allowed", message));
                self.close(CloseCode::ORIGIN_REFUSED, "origin_not_allowed")
            }
            Credentials::ClientInQuery => {
                let message = "a CLIENT token does not belong in a URL, which ends up in logs and histories: send it as \
                               `Authorization: Bearer <token>`, as the subprotocol `bearer.<token>` beside `chatsphere.v1`, or in \
                               a first frame {\"type\":\"auth\",\"token\":…}; and replace this one, it may have been logged";
                let code = TokenRefusal::Invalid.code();
                self.send(&answers::refusal(&About::default(), code, message));
                self.close(CloseCode::TOKEN_INVALID, code)
            }
            Credentials::Awaited | Credentials::Caller(_) => self.await_auth().await,
        }
    }

    /// Reads frames and answers them, until either side ends.
    async fn converse(&mut self) {
        let stopping = self.state.stopping.clone();
        let stopping = stopping.cancelled();
        tokio::pin!(stopping);
        loop {
            // Boxed: an idle connection need not keep room for any of it.
            let waited = match self.take_frames() {
                Ok(Then::Read) if self.began_at == 0 => None,
                Ok(Then::Read) => Some(Box::pin(self.read_on()).await),
                Ok(then) => Some(Box::pin(self.wait_for(then)).await),
                Err(Ended) => return,
            };
            match waited {
                None => {}
                Some(Ok(())) => continue,
                Some(Err(Ended)) => return,
            }
            tokio::select! {
                biased;
                () = &mut stopping => return Box::pin(self.finish()).await,
                read = self.reader.read(&mut self.buffer) => match (read, &self.session) {
                    (Ok(1..), Some(session)) => self.state.sessions.heard(session),
                    _ => return self.outbound.abandon(),
                },
            }
        }
    }

    async fn wait_for(&mut self, then: Then) -> Result<(), Ended> {
        let now = self.state.sessions.elapsed();
        match then {
            Then::Read => {}
            Then::CarryOut(text, rest) => {
                self.carry_out(&text).await?;
                self.rest(rest).await?;
            }
            Then::Answer => {
                if let Some(unanswered) = &mut self.unanswered {
                    unanswered.make_room(self.state.chat.limits.unanswered_sends).await;
                }
            }
            Then::Rest(rest) => self.rest(rest).await?,
        }
        if self.began_at > 0 {
            // Nothing was read meanwhile: that is not the client's delay.
            self.began_at += self.state.sessions.elapsed().saturating_sub(now);
        }
        Ok(())
    }

    /// Reads more of a message that has begun, which must be there in time.
    async fn read_on(&mut self) -> Result<(), Ended> {
        let most = self.state.sessions.times.message;
        let stopping = self.state.stopping.clone();
        let asked = self.state.sessions.elapsed();
        let left = most.saturating_sub(Duration::from_millis(asked.saturating_sub(self.began_at)));
        let read = tokio::select! {
            biased;
            () = stopping.cancelled() => {
                self.finish().await;
                return Err(Ended);
            }
            read = in_time(left, self.reader.read(&mut self.buffer)) => read,
        };
        match (read, &self.session) {
            (Ok(Ok(1..)), session) => {
                session.iter().for_each(|session| self.state.sessions.heard(session));
                let now = self.state.sessions.elapsed();
                if Duration::from_millis(now.saturating_sub(asked)) > left + LATE {
                    // This process stood still.
                    self.began_at = now;
                }
                Ok(())
            }
            (Ok(_), _) => {
                self.outbound.abandon();
                Err(Ended)
            }
            (Err(_), _) => {
                let message = "a message did not arrive in time: send it at once, or in parts that follow one another";
                self.send(&answers::refusal(&About::default(), "slow_message", message));
                self.close(CloseCode::POLICY_VIOLATION, "slow_message")
            }
        }
    }

    /// Reads nothing for a while. A stop ends the connection meanwhile.
    async fn rest(&mut self, rest: Duration) -> Result<(), Ended> {
        if rest.is_zero() {
            return Ok(());
        }
        let stopping = self.state.stopping.clone();
        tokio::select! {
            biased;
            () = stopping.cancelled() => {
                self.finish().await;
                return Err(Ended);
            }
            () = sleep(rest) => {}
        }
        if let Some(session) = &self.session {
            // There is more of it to read.
            self.state.sessions.heard(session);
        }
        Ok(())
    }

    /// Counts frames that came. Answers how long to rest, or closes the connection.
    fn count(&mut self, frames: u32, idle: u32) -> Result<Duration, Ended> {
        let limits = &self.state.chat.limits;
        if !self.is_limited || limits.messages_per_second == 0 || (frames == 0 && idle == 0) {
            return Ok(Duration::ZERO);
        }
        let now = self.state.sessions.elapsed_micros();
        if self.flood.is_flooded(limits, idle, now) {
            let message = "far too many frames that come to nothing: connect again and send more slowly";
            self.send(&answers::refusal(&About::default(), "flood", message));
            return Err(self.closed(CloseCode::FLOOD, "flood"));
        }
        Ok(self.flood.count(limits, frames, now))
    }

    /// Reads until the first frames have brought a token that is accepted.
    async fn await_auth(&mut self) -> Result<(), Ended> {
        let most = self.state.sessions.times.authenticate;
        let mut deadline = Instant::now() + most;
        let mut is_last = false;
        let stopping = self.state.stopping.clone();
        loop {
            match self.take_frames()? {
                Then::Read => {}
                then => {
                    self.wait_for(then).await?;
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
                // What had arrived at the deadline was looked at. More may come for ever.
                return self.close_unauthenticated();
            }
            let read = tokio::select! {
                () = stopping.cancelled() => return self.close_for_restart(),
                read = in_time(left, self.reader.read(&mut self.buffer)) => read,
            };
            match read {
                Ok(Ok(1..)) => {
                    // The read alone is measured: the rests that this server takes are no standstill.
                    if asked.elapsed() > left + LATE {
                        // This process stood still.
                        deadline = Instant::now() + most;
                        is_last = false;
                    }
                }
                Ok(_) => {
                    self.outbound.abandon();
                    return Err(Ended);
                }
                Err(_) => return self.close_unauthenticated(),
            }
        }
    }

    fn close_unauthenticated(&self) -> Result<(), Ended> {
        let message = "authenticate within 5 s: send {\"type\":\"auth\",\"token\":…} first";
        self.send(&answers::refusal(&About::default(), "not_authenticated", message));
        self.close(CloseCode::NOT_AUTHENTICATED, "not_authenticated")
    }

    /// Carries out every whole frame that has arrived, up to one that has to be waited for.
    fn take_frames(&mut self) -> Result<Then, Ended> {
        loop {
            if self.outbound.is_ended() {
                return Err(Ended);
            }
            if self.has_more_to_carry_out() && self.is_full() {
                return Ok(Then::Answer);
            }
            let decoded = self.decoder.decode(&mut self.buffer);
            let frames = self.decoder.take_frames();
            let control = u32::from(matches!(decoded, Ok(Some(Incoming::Ping(_) | Incoming::Pong(_)))));
            let rest = self.count(frames.all, frames.empty + control)?;
            let incoming = match decoded {
                Ok(Some(incoming)) => incoming,
                Ok(None) if rest.is_zero() => break,
                Ok(None) => return Ok(Then::Rest(rest)),
                Err(error) => return Err(self.closed(error.close_code(), &error.to_string())),
            };
            if !self.decoder.is_assembling() {
                // What had begun is whole.
                self.began_at = 0;
            }
            match incoming {
                Incoming::Text(text) => {
                    if let Some(text) = self.take_text(text)? {
                        return Ok(Then::CarryOut(text, rest));
                    }
                }
                Incoming::Binary(_) => return Err(self.closed(CloseCode::UNSUPPORTED_DATA, "send JSON as text frames")),
                Incoming::Ping(payload) => self.outbound.send(websocket::pong(&payload)),
                Incoming::Pong(_) => {}
                Incoming::Close { code, .. } => return Err(self.closed(code.unwrap_or(CloseCode::NORMAL), "")),
            }
            if !rest.is_zero() {
                return Ok(Then::Rest(rest));
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
        Ok(Then::Read)
    }

    /// Whether a text is next, or a part of one. Not so a pong that the server asked for: the opcodes of control frames have this bit
    /// (RFC 6455, section 5.5). Who sends no more texts than may be unanswered is not held back.
    fn has_more_to_carry_out(&self) -> bool {
        const CONTROL: u8 = 0x08;
        self.buffer.first().is_some_and(|first| first & CONTROL == 0)
    }

    /// Whether an answer has to come before anything else is carried out.
    fn is_full(&self) -> bool {
        let most = self.state.chat.limits.unanswered_sends;
        self.unanswered.as_ref().is_some_and(|unanswered| unanswered.is_full(most))
    }

    /// Reads a frame, and carries it out if that needs no waiting; else gives it back.
    fn take_text(&mut self, bytes: Bytes) -> Result<Option<Bytes>, Ended> {
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Err(self.closed(CloseCode::INVALID_PAYLOAD, "not UTF-8"));
        };
        let Some((frame, about)) = self.read_frame(text) else {
            self.count(0, 1)?;
            return Ok(None);
        };
        match (self.session.clone(), frame) {
            (None, ClientFrame::Auth { .. }) | (Some(_), ClientFrame::Auth { .. } | ClientFrame::Join { .. }) => {
                Ok(Some(bytes))
            }
            (None, _) => {
                let message = "authenticate first: send {\"type\":\"auth\",\"token\":…}";
                self.send(&answers::refusal(&about, "not_authenticated", message));
                self.count(0, 1)?;
                Ok(None)
            }
            (Some(session), frame) => {
                if matches!(frame, ClientFrame::Ping) {
                    self.count(0, 1)?;
                }
                self.request(&session, frame, &about);
                Ok(None)
            }
        }
    }

    /// What a text asks for, and what its answers repeat of it. `None` if it is refused already.
    fn read_frame<'t>(&self, text: &'t str) -> Option<(ClientFrame<'t>, About)> {
        let limits = &self.state.chat.limits;
        let incoming = match ClientIncoming::parse(text) {
            Ok(incoming) => incoming,
            Err(error) => {
                self.send(&answers::unreadable(error, limits.ref_bytes));
                return None;
            }
        };
        let mut about = About::new(&incoming.frame, limits);
        if let Some(reference) = incoming.reference {
            if let Err(invalid) = check_bytes("ref", &reference, limits.ref_bytes) {
                self.send(&answers::error(&about, &invalid.into()));
                return None;
            }
            about.reference = Some(reference.into_owned());
        }
        Some((incoming.frame, about))
    }

    /// Carries out a frame that has to be waited for: `auth`, `join`.
    async fn carry_out(&mut self, text: &Bytes) -> Result<(), Ended> {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let Some((frame, about)) = self.read_frame(text) else { return Ok(()) };
        match (self.session.clone(), frame) {
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
            (None, _) => Ok(()),
            (Some(session), frame) => {
                self.long_request(&session, frame, &about).await;
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
            limits: hello_limits(limits),
        };
        self.outbound.count_for(self.state.chat.owner(&caller));
        let listener = Arc::new(Listener::new(id, caller.clone(), self.outbound.clone()));
        let Some(session) = self.state.sessions.enter(listener.clone()) else {
            let message = "this user holds too many connections on this node: close some";
            self.send(&answers::refusal(&About::default(), "too_many_connections", message));
            return self.close(CloseCode::FLOOD, "too_many_connections");
        };
        self.session = Some(session.clone());
        let (user, token, client) = (caller.user.id, caller.token_id, self.client.map(tracing::field::display));
        tracing::debug!(connection = %id, %user, %token, client, "a WebSocket was opened");
        self.is_limited = !caller.may_name_others();
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
            unanswered.none().await;
        }
        let _ = self.close_for_restart();
    }

    /// Says when to come back, spread so that not all come at once.
    fn close_for_restart(&self) -> Result<(), Ended> {
        let delay = Duration::from_millis(rand::rng().random_range(200..=2_000));
        let reason = format!("the server is restarting: reconnect in {} ms", delay.as_millis());
        self.outbound.close_for(CloseCode::GOING_AWAY, &reason, delay);
        Err(Ended)
    }

    /// Tells why a token is refused, and closes.
    fn refuse(&self, about: &About, error: &Error) -> Result<(), Ended> {
        tracing::info!(client = self.client.map(tracing::field::display), code = error.code(), "a WebSocket was refused");
        self.send(&answers::error(about, error));
        match error {
            Error::Token(refusal) => self.close(close_code(*refusal), refusal.code()),
            _ => self.close(CloseCode::TRY_AGAIN_LATER, error.code()),
        }
    }

    /// Closes if the caller's token has expired since it was shown.
    pub(super) fn check_expiry(&self, caller: &Caller) -> Result<(), Error> {
        self.state.chat.authority.check_fresh()?;
        let now = self.state.chat.clock.now();
        if caller.expires_at <= now { Err(TokenRefusal::Expired.into()) } else { Ok(()) }
    }

    fn close(&self, code: CloseCode, reason: &str) -> Result<(), Ended> {
        Err(self.closed(code, reason))
    }

    fn closed(&self, code: CloseCode, reason: &str) -> Ended {
        self.outbound.close(code, reason);
        Ended
    }

    pub(super) fn send(&self, frame: &impl Serialize) {
        if let Some(frame) = encode(frame) {
            self.outbound.send(frame);
        }
    }

    /// Counts how the connection ends, and logs it: loudly only if the server is not content with it.
    fn tell_end(&self, code: Option<CloseCode>) {
        let word = closes::count(code);
        let connection = self.session.as_ref().map(|session| tracing::field::display(session.listener.id));
        let user = self.session.as_ref().map(|session| tracing::field::display(session.listener.caller().user.id));
        let client = self.client.map(tracing::field::display);
        match code {
            None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY) => {
                tracing::debug!(connection, user, client, code = word, "a WebSocket was closed");
            }
            Some(_) => tracing::info!(connection, user, client, code = word, "a WebSocket was closed"),
        }
    }

    fn leave_sessions(&mut self) {
        if let Some(session) = self.session.take() {
            self.state.sessions.leave(&session);
        }
    }
}
