//! The authenticated connections of this node: heartbeats, expiry and revocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chatsphere_core::ops::authorize_join;
use chatsphere_core::{Access, Affected, AppContext, AuthorityListener, Caller, Error, RoomId, TokenRefusal, Topic, UserId};
use chatsphere_net::websocket;
use chatsphere_protocol::close;
use chatsphere_protocol::frames::ServerFrame;
use chatsphere_realtime::frame::encode;
use chatsphere_realtime::{Connections, Hub, Subscriber, WriteQueue};
use futures_util::{StreamExt, stream};
use metrics::{Gauge, gauge};
use rand::Rng;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Timeouts;
use super::heartbeat::{Due, HeartbeatState};
use super::open_sessions::{OpenSessions, Place};

static SOCKETS: LazyLock<Gauge> = LazyLock::new(|| gauge!("chatsphere_sockets"));
static ROOMS: LazyLock<Gauge> = LazyLock::new(|| gauge!("chatsphere_rooms_with_listeners"));
static QUEUED: LazyLock<Gauge> = LazyLock::new(|| gauge!("chatsphere_outbound_queue_bytes"));

/// Number of sweeps between two sums over the queued bytes of all connections, because the sum reads every connection's memory.
const SWEEPS_A_COUNT: u64 = 30;
/// Pings per batch, and the time between batches. Hundreds of pings at once, and as many answers, would delay messages by
/// milliseconds. Small batches cost a fifth more CPU time, because each wakes threads.
const PINGS: usize = 128;
const BETWEEN_PINGS: Duration = Duration::from_millis(16);
/// A sweep that starts this many milliseconds late was delayed by a suspension of the process.
const LATE: u64 = 1_000;
/// Sessions checked concurrently. Each check may query the store.
const JUDGED_AT_ONCE: usize = 8;
/// Number of locks for checks, which sessions share.
const JUDGING: usize = 256;
/// Maximum number of ping batches per sweep, so that the next sweep is on time.
const MAX_BATCHES: usize = 16;

/// The authenticated connections of this node.
pub struct ConnectionRegistry {
    chat: Arc<AppContext>,
    hub: Arc<Hub>,
    pub(super) times: Timeouts,
    started: Instant,
    open: Mutex<Open>,
    /// Held while a session's rights are looked up and set, so that the later of two checks wins. Shared, so that an idle
    /// session needs no lock of its own.
    judging: [tokio::sync::Mutex<()>; JUDGING],
}

#[derive(Default)]
struct Open {
    sessions: OpenSessions,
    /// When the last sweep began. All times here are in milliseconds since the node started.
    swept_at: u64,
    /// The earliest start of a client's silence: bytes that arrived before may be unread.
    listening_since: u64,
}

impl Open {
    /// Begins a sweep and returns the earliest start of silence. If the previous sweep began more than `longest` ago, the
    /// process was suspended, and bytes that arrived meanwhile are still unread.
    fn begin_sweep(&mut self, now: u64, longest: u64) -> u64 {
        if now.saturating_sub(self.swept_at) > longest {
            self.listening_since = now;
        }
        self.swept_at = now;
        self.listening_since
    }
}

/// One authenticated connection.
pub(super) struct Session {
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) place: Place,
    /// When the last bytes arrived, in milliseconds since the node started.
    heard_at: AtomicU64,
}

impl Session {
    pub(super) fn new(subscriber: Arc<Subscriber>, place: Place, now: u64) -> Self {
        Self { subscriber, place, heard_at: AtomicU64::new(now) }
    }

    pub(super) fn heard(&self, now: u64) {
        self.heard_at.store(now, Ordering::Relaxed);
    }

    pub(super) fn heard_at(&self) -> u64 {
        self.heard_at.load(Ordering::Relaxed)
    }
}

impl ConnectionRegistry {
    /// A registry without connections.
    pub fn new(chat: Arc<AppContext>, hub: Arc<Hub>) -> Self {
        Self::with_times(chat, hub, Timeouts::default())
    }

    /// A registry without connections, with these timeouts.
    pub fn with_times(chat: Arc<AppContext>, hub: Arc<Hub>, times: Timeouts) -> Self {
        Self {
            chat,
            hub,
            times,
            started: Instant::now(),
            open: Mutex::default(),
            judging: [const { tokio::sync::Mutex::const_new(()) }; JUDGING],
        }
    }

    /// The number of authenticated connections.
    pub fn count(&self) -> usize {
        self.open().sessions.len()
    }

    /// Registers a connection, unless its user has too many.
    pub(super) fn enter(&self, subscriber: Arc<Subscriber>) -> Option<Arc<Session>> {
        let (caller, now, interval) = (subscriber.caller(), self.elapsed(), self.first_interval());
        let mut open = self.open();
        if open.sessions.count_of_user(caller.user.id) >= self.chat.limits.connections_per_user {
            return None;
        }
        let make = |place| HeartbeatState::new(Arc::new(Session::new(subscriber, place, now)), now + interval);
        let session = open.sessions.enter(&caller, make)?;
        self.hub.interest.add(Topic::User(caller.user.id));
        SOCKETS.set(open.sessions.len() as f64);
        Some(session)
    }

    /// Removes a connection that has ended.
    pub(super) fn leave(&self, session: &Session) {
        self.hub.disconnect(&session.subscriber);
        let mut open = self.open();
        if open.sessions.leave(session) {
            self.hub.interest.remove(Topic::User(session.subscriber.caller().user.id));
        }
        SOCKETS.set(open.sessions.len() as f64);
    }

    /// Records that bytes arrived from this connection.
    pub(super) fn heard(&self, session: &Session) {
        session.heard(self.elapsed());
    }

    /// Sweeps periodically: pings connections, closes silent ones, and closes those with expired tokens. Runs for ever.
    pub async fn run(&self) {
        let mut ticks = interval(self.times.look);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_u64.. {
            ticks.tick().await;
            ping(&self.sweep(self.elapsed())).await;
            if number % SWEEPS_A_COUNT == 0 {
                self.count_queues();
            }
        }
    }

    /// Closes connections that are due to close. Returns those that are due for a ping.
    fn sweep(&self, now: u64) -> Vec<Arc<Session>> {
        let wall = self.chat.clock.now();
        let silence = millis(self.chat.limits.heartbeat + self.times.silence);
        let mut all_due = Vec::new();
        let mut open = self.open();
        let since = open.begin_sweep(now, millis(self.times.look) + LATE);
        for state in open.sessions.states_mut() {
            if let Some(due) = state.due(now, wall, since, silence, || self.jittered()) {
                all_due.push((state.session.clone(), due));
            }
        }
        drop(open);
        let mut to_ping = Vec::new();
        for (session, due) in all_due {
            match due {
                Due::Expired => expire(&session.subscriber),
                Due::Silent => session.subscriber.write_queue.abandon(),
                Due::Ping => to_ping.push(session),
            }
        }
        ROOMS.set(self.hub.room_count() as f64);
        to_ping
    }

    fn count_queues(&self) {
        let queued: usize = self.all().iter().map(|session| session.subscriber.write_queue.waiting_bytes()).sum();
        QUEUED.set(queued as f64);
    }

    fn all(&self) -> Vec<Arc<Session>> {
        self.open().sessions.states().map(|state| state.session.clone()).collect()
    }

    /// The time until the first ping: between half and all of the heartbeat interval, so that connections opened together are
    /// not pinged together.
    fn first_interval(&self) -> u64 {
        let interval = millis(self.chat.limits.heartbeat);
        rand::rng().random_range(interval / 2..=interval)
    }

    /// The heartbeat interval, varied by a tenth so that pings that coincide by chance separate again.
    fn jittered(&self) -> u64 {
        let interval = millis(self.chat.limits.heartbeat);
        rand::rng().random_range(interval * 9 / 10..=interval)
    }

    /// Milliseconds since the node started.
    pub(super) fn elapsed(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Microseconds since the node started.
    pub(super) fn elapsed_micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Closes the sessions of revoked tokens, without a query to the store.
    fn close_revoked(&self, affected: &[Affected]) {
        for one in affected {
            let Affected::Token(token) = one else { continue };
            let sessions = self.open().sessions.of_token(*token);
            sessions.iter().for_each(|session| close_refused(&session.subscriber, TokenRefusal::Revoked));
        }
    }

    /// Closes the sessions of disabled users. Returns the sessions of users whose role changed, which must be checked again. A
    /// new name changes nothing for a session.
    async fn close_disabled(&self, affected: &[Affected]) -> Vec<Arc<Session>> {
        let mut to_judge = Vec::new();
        for one in affected {
            let Affected::User(user) = one else { continue };
            let sessions = self.open().sessions.of_user(*user);
            for session in sessions {
                // A concurrent check may have read the token before the change, and would set the old role after this.
                let is_judged = self.judging(&session).try_lock().is_err();
                let before = session.subscriber.caller();
                // The first call reads the user's row; the others find it in the authority's cache.
                match self.chat.authority.caller(&*self.chat.store, before.token_id).await {
                    Ok(caller) if caller.role == before.role && !is_judged => {}
                    Ok(_) => to_judge.push(session),
                    Err(Error::Token(refusal)) => close_refused(&session.subscriber, refusal),
                    Err(error) => close_unjudged(&session.subscriber, &error),
                }
            }
        }
        to_judge
    }

    /// Checks a connection's token again; closes the connection, or updates its rights.
    pub(super) async fn judge(&self, session: &Session) -> Result<(), Error> {
        let _turn = self.judging(session).lock().await;
        let subscriber = &session.subscriber;
        match self.chat.authority.caller(&*self.chat.store, subscriber.caller().token_id).await {
            Ok(caller) => self.go_on_as(session, caller).await,
            Err(Error::Token(refusal)) => {
                close_refused(subscriber, refusal);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces the connection's token by another one of the same user.
    pub(super) async fn adopt(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        let adopted = self.go_on_and_judge(session, caller).await;
        if let Err(error) = &adopted {
            // Some rooms may still have the rights of the previous token.
            close_unjudged(&session.subscriber, error);
        }
        adopted
    }

    async fn go_on_and_judge(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        {
            let _turn = self.judging(session).lock().await;
            self.go_on_as(session, caller).await?;
        }
        // A revocation finds this connection by the new token only from now on; this check finds an earlier one.
        self.judge(session).await
    }

    /// Checks the rights to a room that was joined with `access`, because they may have changed during the join.
    pub(super) async fn keep_rights(&self, session: &Session, room: RoomId, access: Access) {
        let _turn = self.judging(session).lock().await;
        let has = authorize_join(&session.subscriber.caller(), room);
        if has == Ok(access) {
            return;
        }
        if let Err(error) = self.keep_or_leave(&session.subscriber, room, has).await {
            close_unjudged(&session.subscriber, &error);
        }
    }

    /// Sets the connection's caller, and leaves the rooms that this caller may not join.
    async fn go_on_as(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        let subscriber = &session.subscriber;
        let before = subscriber.caller();
        self.open().sessions.set_caller(session, caller.clone());
        for room in subscriber.rooms() {
            let has = authorize_join(&caller, room);
            // With unchanged access nothing needs to be done: a membership that ends also ends its subscription.
            if has.is_err() || has != authorize_join(&before, room) {
                self.keep_or_leave(subscriber, room, has).await?;
            }
        }
        Ok(())
    }

    async fn keep_or_leave(&self, subscriber: &Subscriber, room: RoomId, has: Result<Access, Error>) -> Result<(), Error> {
        let stays = match has {
            Ok(access) => {
                // Set before the query: an earlier removal is visible to the query, and a later one finds the subscription of a
                // member.
                self.hub.set_access(subscriber, room, access);
                self.is_there(room, access).await?
            }
            Err(_) => false,
        };
        if !stays {
            let left = ServerFrame::Left { room_id: room, reason: "rights_changed".into() };
            if let Some(left) = encode(&left) {
                self.hub.evict(subscriber, room, &left);
            }
        }
        Ok(())
    }

    async fn is_there(&self, room: RoomId, access: Access) -> Result<bool, Error> {
        Ok(match access {
            Access::Any => true,
            Access::Member(user) => self.chat.store.room_relation(room, user).await?.is_some_and(|relation| relation.member),
        })
    }

    /// The lock that is held while the session's rights are looked up and set.
    fn judging(&self, session: &Session) -> &tokio::sync::Mutex<()> {
        &self.judging[session.place as usize % JUDGING]
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections for ConnectionRegistry {
    fn of_user(&self, user: UserId) -> Vec<Arc<WriteQueue>> {
        let sessions = self.open().sessions.of_user(user);
        sessions.iter().map(|session| session.subscriber.write_queue.clone()).collect()
    }
}

#[async_trait]
impl AuthorityListener for ConnectionRegistry {
    /// Closes connections before it checks others: a revocation must not wait for many checks.
    async fn authority_changed(&self, affected: Option<&[Affected]>) {
        let to_judge = match affected {
            None => self.all(),
            Some(affected) => {
                self.close_revoked(affected);
                self.close_disabled(affected).await
            }
        };
        let judging = stream::iter(to_judge).for_each_concurrent(JUDGED_AT_ONCE, async |session| {
            if let Err(error) = self.judge(&session).await {
                close_unjudged(&session.subscriber, &error);
            }
        });
        judging.await;
    }
}

/// Sends pings in batches.
async fn ping(sessions: &[Arc<Session>]) {
    let ping = websocket::ping(b"");
    for batch in sessions.chunks(PINGS.max(sessions.len().div_ceil(MAX_BATCHES))) {
        batch.iter().for_each(|session| session.subscriber.write_queue.send(ping.clone()));
        sleep(BETWEEN_PINGS).await;
    }
}

/// Closes a connection whose rights cannot be looked up, because a revoked token might otherwise keep its connection. The
/// client reconnects when the store is available.
fn close_unjudged(subscriber: &Subscriber, error: &Error) {
    tracing::warn!(%error, "the rights of a connection could not be checked; it is closed");
    subscriber.write_queue.close(close::TRY_AGAIN_LATER, "try again");
}

/// Closes a connection whose token has expired.
fn expire(subscriber: &Subscriber) {
    close_refused(subscriber, TokenRefusal::Expired);
}

/// Sends a connection the reason for rejecting its token, and closes it.
pub(super) fn close_refused(subscriber: &Subscriber, refusal: TokenRefusal) {
    let error = Error::Token(refusal);
    let about = super::answers::Correlation::default();
    encode(&super::answers::error(&about, &error)).into_iter().for_each(|frame| subscriber.write_queue.send(frame));
    subscriber.write_queue.close(close_code(refusal), refusal.code());
}

/// A new token of the same kind helps only after expiry.
pub(super) fn close_code(refusal: TokenRefusal) -> u16 {
    match refusal {
        TokenRefusal::Expired => close::TOKEN_EXPIRED,
        _ => close::TOKEN_INVALID,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
