//! The authenticated connections of this node: heartbeats, expiry and revocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chatsphere_core::ops::authorize_join;
use chatsphere_core::{Access, Affected, AppContext, AuthorityListener, Caller, Error, RoomId, TokenRefusal, Topic, UserId};
use chatsphere_net::websocket::{self, CloseCode};
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

/// Sweeps for one count of the bytes that wait for all connections. The count reads the memory of each connection.
const SWEEPS_A_COUNT: u64 = 30;
/// Pings in one batch, and the time between batches. Hundreds of pings at once, and soon as many answers, would delay messages
/// by milliseconds. Small batches cost a fifth more processor time, since each wakes threads.
const PINGS: usize = 128;
const BETWEEN_PINGS: Duration = Duration::from_millis(16);
/// A sweep that comes so many milliseconds late was held up with the whole process.
const LATE: u64 = 1_000;
/// Connections judged anew at the same time. The store may be asked for each.
const JUDGED_AT_ONCE: usize = 8;
/// Sessions share so many locks to be judged under.
const JUDGING: usize = 256;
/// Batches of pings in one sweep, whatever the number of pings, so that the next sweep is not late.
const MAX_BATCHES: usize = 16;

/// The authenticated connections of this node.
pub struct ConnectionRegistry {
    chat: Arc<AppContext>,
    hub: Arc<Hub>,
    pub(super) times: Timeouts,
    started: Instant,
    open: Mutex<Open>,
    /// Held while a session's rights are looked up and set: of two judgements the later one must win. Sessions share a few, so
    /// that an idle one has none of its own.
    judging: [tokio::sync::Mutex<()>; JUDGING],
}

#[derive(Default)]
struct Open {
    sessions: OpenSessions,
    /// When the last sweep began, in milliseconds since the node started, as are all times here.
    swept_at: u64,
    /// Silence is counted from then at the earliest: bytes that came before may not have been read.
    listening_since: u64,
}

impl Open {
    /// A sweep begins. Returns since when silence counts. If the sweep before is longer ago than `longest`, this process stood
    /// still, as when it was suspended, and bytes that arrived meanwhile are still to be read.
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
    /// When bytes came from it last, in milliseconds since the node started.
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

    /// A registry without connections, with other time-outs than the default.
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

    /// How many connections are open and authenticated.
    pub fn count(&self) -> usize {
        self.open().sessions.len()
    }

    /// Registers a connection, unless its user holds too many already.
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

    /// Notes that bytes came from this connection.
    pub(super) fn heard(&self, session: &Session) {
        session.heard(self.elapsed());
    }

    /// Sweeps for ever: pings connections, drops silent ones, and closes those whose token has expired.
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

    /// Closes the connections that are to be closed. Returns those that are to be pinged.
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

    /// The time until the first ping: half of the heartbeat's interval to all of it, so that connections that were opened
    /// together are not pinged together.
    fn first_interval(&self) -> u64 {
        let interval = millis(self.chat.limits.heartbeat);
        rand::rng().random_range(interval / 2..=interval)
    }

    /// The heartbeat's interval, spread by a tenth so that pings which met by chance part again.
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

    /// Closes the sessions of tokens that were revoked, without a query to the store.
    fn close_revoked(&self, affected: &[Affected]) {
        for one in affected {
            let Affected::Token(token) = one else { continue };
            let sessions = self.open().sessions.of_token(*token);
            sessions.iter().for_each(|session| close_refused(&session.subscriber, TokenRefusal::Revoked));
        }
    }

    /// Closes the sessions of users that were disabled. Returns those whose user has another role now, which have to be judged
    /// anew. A change of the name alone changes nothing for a session.
    async fn close_disabled(&self, affected: &[Affected]) -> Vec<Arc<Session>> {
        let mut to_judge = Vec::new();
        for one in affected {
            let Affected::User(user) = one else { continue };
            let sessions = self.open().sessions.of_user(*user);
            for session in sessions {
                // A judgement under way may have read the token before the change, and would set the old role after this.
                let is_judged = self.judging(&session).try_lock().is_err();
                let before = session.subscriber.caller();
                // The first reads the user's row; the others find it in the authority's cache.
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

    /// Looks a connection's token up anew, and closes it or lets it go on with what it may now do.
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

    /// The connection showed another token of the same user, and goes on with that one.
    pub(super) async fn adopt(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        let adopted = self.go_on_and_judge(session, caller).await;
        if let Err(error) = &adopted {
            // Some rooms may have been left to the rights of the token before.
            close_unjudged(&session.subscriber, error);
        }
        adopted
    }

    async fn go_on_and_judge(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        {
            let _turn = self.judging(session).lock().await;
            self.go_on_as(session, caller).await?;
        }
        // Only now does a revocation of this token find this connection: one that came before shows when it is looked up again.
        self.judge(session).await
    }

    /// Judges a room that was joined with `access`, since the caller's rights may have changed during the join.
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

    /// The connection goes on as this caller. It leaves the rooms that this caller may not listen to.
    async fn go_on_as(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        let subscriber = &session.subscriber;
        let before = subscriber.caller();
        self.open().sessions.set_caller(session, caller.clone());
        for room in subscriber.rooms() {
            let has = authorize_join(&caller, room);
            // With the same access as before there is nothing to do: the end of a membership ends its subscription by itself.
            if has.is_err() || has != authorize_join(&before, room) {
                self.keep_or_leave(subscriber, room, has).await?;
            }
        }
        Ok(())
    }

    async fn keep_or_leave(&self, subscriber: &Subscriber, room: RoomId, has: Result<Access, Error>) -> Result<(), Error> {
        let stays = match has {
            Ok(access) => {
                // Set before the store is asked: a removal before that shows in the answer, a later one finds a member's
                // subscription.
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
            Access::Member(user) => self.chat.store.room_relation(room, user).await?.is_some_and(|standing| standing.member),
        })
    }

    /// What is held while the session's rights are looked up and set.
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
    /// Closes connections before it judges others anew: a revocation must not wait for judgements, of which there may be many.
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

/// Closes a connection whose rights can't be looked up. A guess could leave a revoked token its socket. The client connects
/// again when the store is back.
fn close_unjudged(subscriber: &Subscriber, error: &Error) {
    tracing::warn!(%error, "a connection could not be judged anew and is closed");
    subscriber.write_queue.close(CloseCode::TRY_AGAIN_LATER, "try again");
}

/// Closes a connection whose token has expired.
fn expire(subscriber: &Subscriber) {
    close_refused(subscriber, TokenRefusal::Expired);
}

/// Tells a connection why its token is refused, and closes it.
pub(super) fn close_refused(subscriber: &Subscriber, refusal: TokenRefusal) {
    let error = Error::Token(refusal);
    let about = super::answers::Correlation::default();
    encode(&super::answers::error(&about, &error)).into_iter().for_each(|frame| subscriber.write_queue.send(frame));
    subscriber.write_queue.close(close_code(refusal), refusal.code());
}

/// A new token of the same kind helps against expiry, and against nothing else.
pub(super) fn close_code(refusal: TokenRefusal) -> CloseCode {
    match refusal {
        TokenRefusal::Expired => CloseCode::TOKEN_EXPIRED,
        _ => CloseCode::TOKEN_INVALID,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
