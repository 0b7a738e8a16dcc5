use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chatsphere_core::ops::authorize_join;
use chatsphere_core::{
    Access, Affected, AuthorityListener, Caller, Chat, ConnectionId, Error, RoomId, TokenRefusal, Topic, UserId,
};
use chatsphere_net::websocket::{self, CloseCode};
use chatsphere_protocol::frames::ServerFrame;
use chatsphere_realtime::frame::encode;
use chatsphere_realtime::{Connections, Hub, Listener, Outbound};
use futures_util::{StreamExt, stream};
use metrics::{Gauge, gauge};
use rand::Rng;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Times;
use super::watched::{Due, Watched};

static SOCKETS: LazyLock<Gauge> = LazyLock::new(|| gauge!("chatsphere_sockets"));
static ROOMS: LazyLock<Gauge> = LazyLock::new(|| gauge!("chatsphere_rooms_with_listeners"));
static QUEUED: LazyLock<Gauge> = LazyLock::new(|| gauge!("chatsphere_outbound_queue_bytes"));

/// The bytes that wait for all connections are added up once in so many looks: it goes through the memory of each.
const LOOKS_A_COUNT: u64 = 30;
/// Pings in one go, and how long the others wait then. Many hundreds of pings at once, and soon as many answers, would hold up for
/// milliseconds whoever chats at that moment; a few at a time take a fifth more of a processor, since each wakes threads.
const PINGS: usize = 128;
const BETWEEN_PINGS: Duration = Duration::from_millis(16);
/// A look that comes so many milliseconds late was held up with the whole process.
const LATE: u64 = 1_000;
/// Connections judged anew at the same time, for each of which the store may be asked.
const JUDGED_AT_ONCE: usize = 8;
/// However many are due, it is in so many goes, so that the next look is not late.
const MOST_GOES: usize = 16;

/// The authenticated connections of this node.
pub struct Sessions {
    chat: Arc<Chat>,
    hub: Arc<Hub>,
    pub(super) times: Times,
    started: Instant,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    sessions: HashMap<ConnectionId, Watched>,
    of_user: HashMap<UserId, Vec<ConnectionId>>,
    /// When all were looked at last, in milliseconds since the node started, as are all times here.
    looked_at: u64,
    /// Silence is counted from then on: what came in before may not have been read.
    listening_since: u64,
}

impl Open {
    /// A look begins. Answers since when silence counts: where the look before is longer ago than `longest`, this process stood
    /// still, as when it was suspended, and what arrived meanwhile is still to be read.
    fn looked(&mut self, now: u64, longest: u64) -> u64 {
        if now.saturating_sub(self.looked_at) > longest {
            self.listening_since = now;
        }
        self.looked_at = now;
        self.listening_since
    }
}

/// One authenticated connection.
pub(super) struct Session {
    pub(super) listener: Arc<Listener>,
    /// When bytes came from it last, in milliseconds since the node started.
    heard_at: AtomicU64,
    /// Held while its rights are looked up and set: of two judgements the later one must win.
    rights: tokio::sync::Mutex<()>,
}

impl Session {
    pub(super) fn new(listener: Arc<Listener>, now: u64) -> Self {
        Self { listener, heard_at: AtomicU64::new(now), rights: tokio::sync::Mutex::default() }
    }

    pub(super) fn heard(&self, now: u64) {
        self.heard_at.store(now, Ordering::Relaxed);
    }

    pub(super) fn heard_at(&self) -> u64 {
        self.heard_at.load(Ordering::Relaxed)
    }
}

impl Sessions {
    /// No connections yet.
    pub fn new(chat: Arc<Chat>, hub: Arc<Hub>) -> Self {
        Self::with_times(chat, hub, Times::default())
    }

    /// No connections yet, and other patience than usual.
    pub fn with_times(chat: Arc<Chat>, hub: Arc<Hub>, times: Times) -> Self {
        Self { chat, hub, times, started: Instant::now(), open: Mutex::default() }
    }

    /// How many connections are open and authenticated.
    pub fn count(&self) -> usize {
        self.open().sessions.len()
    }

    /// Takes a connection in, unless its user holds too many already.
    pub(super) fn enter(&self, listener: Arc<Listener>) -> Option<Arc<Session>> {
        let (id, user) = (listener.id, listener.caller().user.id);
        let now = self.elapsed();
        let session = Arc::new(Session::new(listener, now));
        let watched = Watched::new(session.clone(), now + self.first_interval());
        let mut open = self.open();
        let of_user = open.of_user.entry(user).or_default();
        if of_user.len() >= self.chat.limits.connections_per_user {
            return None;
        }
        of_user.push(id);
        open.sessions.insert(id, watched);
        self.hub.interest.add(Topic::User(user));
        SOCKETS.set(open.sessions.len() as f64);
        Some(session)
    }

    /// The connection ended.
    pub(super) fn leave(&self, session: &Session) {
        self.hub.disconnect(&session.listener);
        let (id, user) = (session.listener.id, session.listener.caller().user.id);
        let mut open = self.open();
        if open.sessions.remove(&id).is_some() {
            self.hub.interest.remove(Topic::User(user));
        }
        if let Some(of_user) = open.of_user.get_mut(&user) {
            of_user.retain(|other| *other != id);
            if of_user.is_empty() {
                open.of_user.remove(&user);
            }
        }
        SOCKETS.set(open.sessions.len() as f64);
    }

    /// Bytes came from this connection: it lives.
    pub(super) fn heard(&self, session: &Session) {
        session.heard(self.elapsed());
    }

    /// Pings, drops the silent, and closes those whose token has expired. Runs for ever.
    pub async fn run(&self) {
        let mut look = interval(self.times.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_u64.. {
            look.tick().await;
            ping(&self.look()).await;
            if number % LOOKS_A_COUNT == 0 {
                self.count_queues();
            }
        }
    }

    /// Closes whoever is to be closed. Answers who is to be pinged.
    fn look(&self) -> Vec<Arc<Session>> {
        self.look_at(self.elapsed())
    }

    fn look_at(&self, now: u64) -> Vec<Arc<Session>> {
        let wall = self.chat.clock.now();
        let silence = millis(self.chat.limits.heartbeat + self.times.silence);
        let mut all_due = Vec::new();
        let mut open = self.open();
        let since = open.looked(now, millis(self.times.look) + LATE);
        for watched in open.sessions.values_mut() {
            if let Some(due) = watched.due(now, wall, since, silence, || self.jittered()) {
                all_due.push((watched.session.clone(), due));
            }
        }
        drop(open);
        let mut to_ping = Vec::new();
        for (session, due) in all_due {
            match due {
                Due::Expired => expire(&session.listener),
                Due::Silent => session.listener.outbound.abandon(),
                Due::Ping => to_ping.push(session),
            }
        }
        ROOMS.set(self.hub.room_count() as f64);
        to_ping
    }

    fn count_queues(&self) {
        let queued: usize = self.all().iter().map(|session| session.listener.outbound.waiting_bytes()).sum();
        QUEUED.set(queued as f64);
    }

    fn all(&self) -> Vec<Arc<Session>> {
        self.open().sessions.values().map(|watched| watched.session.clone()).collect()
    }

    /// Until the first ping: from half of the heartbeat's interval to all of it, so that connections opened together are not pinged
    /// together.
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

    /// The sessions of these users; all of them where whose they are is not known.
    fn of_users(&self, users: &HashSet<Option<UserId>>) -> Vec<Arc<Session>> {
        if users.contains(&None) {
            return self.all();
        }
        let open = self.open();
        let ids = users.iter().flatten().filter_map(|user| open.of_user.get(user)).flatten();
        ids.filter_map(|id| open.sessions.get(id)).map(|watched| watched.session.clone()).collect()
    }

    /// Closes the sessions of tokens that were revoked. Needs no look at the store.
    fn close_revoked(&self, affected: &[Affected]) {
        let (mut tokens, mut users) = (HashSet::new(), HashSet::new());
        for one in affected {
            if let Affected::Token { token, user } = one {
                tokens.insert(*token);
                users.insert(*user);
            }
        }
        for session in self.of_users(&users) {
            if tokens.contains(&session.listener.caller().token_id) {
                close_refused(&session.listener, TokenRefusal::Revoked);
            }
        }
    }

    /// Closes the sessions of users that were disabled. Answers those whose user has another role now: they are to be judged.
    /// Where only a name changed there is nothing to do.
    async fn close_disabled(&self, affected: &[Affected]) -> Vec<Arc<Session>> {
        let mut to_judge = Vec::new();
        for one in affected {
            let Affected::User(user) = one else { continue };
            for session in self.of_users(&HashSet::from([Some(*user)])) {
                // A judgement under way may have looked the token up before the change, and set what it found only after this.
                let is_judged = session.rights.try_lock().is_err();
                let before = session.listener.caller();
                // Reads the user's row for the first, and has it for the others.
                match self.chat.authority.caller(&*self.chat.store, before.token_id).await {
                    Ok(caller) if caller.role == before.role && !is_judged => {}
                    Ok(_) => to_judge.push(session),
                    Err(Error::Token(refusal)) => close_refused(&session.listener, refusal),
                    Err(error) => close_unjudged(&session.listener, &error),
                }
            }
        }
        to_judge
    }

    /// Looks a connection's token up anew, and closes it or lets it go on with what it may now do.
    pub(super) async fn judge(&self, session: &Session) -> Result<(), Error> {
        let _turn = session.rights.lock().await;
        let listener = &session.listener;
        match self.chat.authority.caller(&*self.chat.store, listener.caller().token_id).await {
            Ok(caller) => self.go_on_as(listener, caller).await,
            Err(Error::Token(refusal)) => {
                close_refused(listener, refusal);
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
            close_unjudged(&session.listener, error);
        }
        adopted
    }

    async fn go_on_and_judge(&self, session: &Session, caller: Arc<Caller>) -> Result<(), Error> {
        {
            let _turn = session.rights.lock().await;
            self.go_on_as(&session.listener, caller).await?;
        }
        // Only now does a revocation of this token find this connection: one that came before shows when it is looked up again.
        self.judge(session).await
    }

    /// A room was joined with these eyes while the caller's rights may have changed.
    pub(super) async fn keep_rights(&self, session: &Session, room: RoomId, access: Access) {
        let _turn = session.rights.lock().await;
        let has = authorize_join(&session.listener.caller(), room);
        if has == Ok(access) {
            return;
        }
        if let Err(error) = self.keep_or_leave(&session.listener, room, has).await {
            close_unjudged(&session.listener, &error);
        }
    }

    /// The connection goes on as this caller: rooms that it may no longer listen to are left.
    async fn go_on_as(&self, listener: &Listener, caller: Arc<Caller>) -> Result<(), Error> {
        let before = listener.caller();
        listener.set_caller(caller.clone());
        if let Some(watched) = self.open().sessions.get_mut(&listener.id) {
            watched.expires_at = caller.expires_at;
        }
        for room in listener.rooms() {
            let has = authorize_join(&caller, room);
            // With the same eyes as before there is nothing to do: a member's seat ends with the membership by itself.
            if has.is_err() || has != authorize_join(&before, room) {
                self.keep_or_leave(listener, room, has).await?;
            }
        }
        Ok(())
    }

    async fn keep_or_leave(&self, listener: &Listener, room: RoomId, has: Result<Access, Error>) -> Result<(), Error> {
        let stays = match has {
            Ok(access) => {
                // Before the store is asked: a removal up to then shows in its answer, a later one finds a member's seat.
                self.hub.set_access(listener, room, access);
                self.is_there(room, access).await?
            }
            Err(_) => false,
        };
        if !stays {
            let left = ServerFrame::Left { room_id: room, reason: "rights_changed".into() };
            if let Some(left) = encode(&left) {
                self.hub.dismiss(listener, room, &left);
            }
        }
        Ok(())
    }

    async fn is_there(&self, room: RoomId, access: Access) -> Result<bool, Error> {
        Ok(match access {
            Access::Any => true,
            Access::Member(user) => self.chat.store.standing(room, user).await?.is_some_and(|standing| standing.member),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections for Sessions {
    fn of_user(&self, user: UserId) -> Vec<Arc<Outbound>> {
        let sessions = self.of_users(&HashSet::from([Some(user)]));
        sessions.iter().map(|session| session.listener.outbound.clone()).collect()
    }
}

#[async_trait]
impl AuthorityListener for Sessions {
    /// Closes first: whoever is out must not wait until others, of whom there may be many, have been judged.
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
                close_unjudged(&session.listener, &error);
            }
        });
        judging.await;
    }
}

/// Pings a few at a time.
async fn ping(sessions: &[Arc<Session>]) {
    let ping = websocket::ping(b"");
    for few in sessions.chunks(PINGS.max(sessions.len().div_ceil(MOST_GOES))) {
        few.iter().for_each(|session| session.listener.outbound.send(ping.clone()));
        sleep(BETWEEN_PINGS).await;
    }
}

/// Closes a connection of which nobody can tell what it may do. Guessing could leave a revoked token its socket: the client
/// connects again when the store is back.
fn close_unjudged(listener: &Listener, error: &Error) {
    tracing::warn!(%error, "a connection could not be judged anew and is closed");
    listener.outbound.close(CloseCode::TRY_AGAIN_LATER, "try again");
}

/// Closes a connection whose token has expired.
fn expire(listener: &Listener) {
    close_refused(listener, TokenRefusal::Expired);
}

/// Tells a connection why its token is refused, and closes it.
pub(super) fn close_refused(listener: &Listener, refusal: TokenRefusal) {
    let error = Error::Token(refusal);
    let about = super::answers::About::default();
    encode(&super::answers::error(&about, &error)).into_iter().for_each(|frame| listener.outbound.send(frame));
    listener.outbound.close(close_code(refusal), refusal.code());
}

/// Expiry is mended by a new token, everything else is not.
pub(super) fn close_code(refusal: TokenRefusal) -> CloseCode {
    match refusal {
        TokenRefusal::Expired => CloseCode::TOKEN_EXPIRED,
        _ => CloseCode::TOKEN_INVALID,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
