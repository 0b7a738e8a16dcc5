use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use chatsphere_core::budget::{Account, Budget, Owner};
use chatsphere_core::turns::{Turn, Turns};
use chatsphere_core::{
    Caller, ConnectionId, Content, EventKind, EventMessage, Message, MessageChangeKind, Signal, SignalKind, SignalSink, Topic,
    UserId, UserRef,
};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{advance, timeout};

use super::*;
use crate::interest::SubjectShard;
use crate::testing::{START, connection, frames, message, settle, spawn_shards, types, user};
use crate::write_queue::{Socket, WriteQueue};

const MAX_BYTES: usize = 1 << 20;

/// An action to run while the store is read.
type Meanwhile = Box<dyn FnOnce() + Send>;

type Answer = (Option<Meanwhile>, Result<EventsPage, Error>);

/// A scripted store, so that a removal can happen between two reads or during one.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    /// Limits this user to one read at a time.
    turns: Option<(Turns, UserId)>,
}

#[async_trait]
impl RoomLog for Script {
    async fn turn(&self) -> Option<Turn> {
        match &self.turns {
            Some((turns, user)) => Some(turns.take(*user, 1).await),
            None => None,
        }
    }

    async fn events_after(&self, _: RoomId, _: Access, _: Seq, _: usize) -> Result<EventsPage, Error> {
        let (meanwhile, answer) = self.answers.lock().unwrap().pop_front().unwrap();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
            // Let the shards run.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        answer
    }

    async fn newest(&self, _: RoomId, _: Access, _: (usize, usize)) -> Result<(Arc<Shared<Newest>>, Option<Turn>), Error> {
        unreachable!("every join here brings `since`")
    }

    async fn heads(&self, _: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        Ok(Vec::new())
    }

    fn epoch(&self) -> Epoch {
        Epoch::from_stored("one")
    }
}

/// A member of one room, and the store's script.
struct World {
    hub: Arc<Hub>,
    user: UserRef,
    room: RoomId,
    log: Script,
    subscriber: Arc<Subscriber>,
}

impl World {
    fn new() -> Self {
        let user = user("ada");
        let (hub, tasks) = Hub::new(1);
        let hub = Arc::new(hub);
        spawn_shards(&hub, tasks.shards.into_iter().chain(tasks.large_rooms));
        let subscriber = connection(&user, MAX_BYTES);
        Self { hub, user, room: RoomId::new(START), log: Script::default(), subscriber }
    }

    fn joined(&self, seq: u64) -> Arc<Event> {
        self.event(seq, EventKind::MemberJoined { user: self.user.clone(), by: self.user.clone() })
    }

    fn left(&self, seq: u64) -> Arc<Event> {
        self.event(seq, EventKind::MemberLeft { user: self.user.clone(), by: self.user.clone() })
    }

    fn event(&self, seq: u64, kind: EventKind) -> Arc<Event> {
        Arc::new(Event { room_id: self.room, seq: Seq::new(seq), at: START, kind })
    }

    fn store_answers(&self, events: &[Arc<Event>], head: u64) {
        self.store_answers_while(None, Ok(EventsPage { events: events.to_vec(), head: Seq::new(head) }));
    }

    fn store_answers_while(&self, meanwhile: Option<Meanwhile>, answer: Result<EventsPage, Error>) {
        self.log.answers.lock().unwrap().push_back((meanwhile, answer));
    }

    async fn join(&self) -> Result<Option<Access>, Error> {
        self.join_as(&self.subscriber).await
    }

    async fn join_as(&self, subscriber: &Arc<Subscriber>) -> Result<Option<Access>, Error> {
        let user = self.user.id;
        let rights = || Ok(Access::Member(user));
        let request = Join { room: self.room, rights: &rights, since: Some(0), epoch: None, reference: None };
        join(&self.hub, &self.log, subscriber, &Limits::default(), Duration::from_secs(10), request).await
    }

    fn seen(&self) -> Vec<String> {
        types(&self.subscriber.write_queue)
    }

    /// The frames that the client gets up to one of this type, and any that a shard still sends after it.
    async fn seen_up_to(&self, last: &str) -> Vec<String> {
        let mut seen = self.seen();
        while seen.last().is_none_or(|seen| seen != last) {
            let more = timeout(Duration::from_secs(1), self.subscriber.write_queue.work()).await;
            assert!(more.is_ok(), "no {last} after {seen:?}");
            seen.extend(self.seen());
        }
        tokio::task::yield_now().await;
        seen.extend(self.seen());
        seen
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_during_a_second_join_is_reported_once_and_last() {
    let world = World::new();
    world.store_answers(&[world.joined(1)], 1);
    world.join().await.unwrap();
    assert_eq!(world.seen(), ["join_confirmation", "previous_messages"]);

    // The store already has the removal at 3 when the second join continues; the hub does not even have 2.
    world.store_answers(&[world.joined(1)], 2);
    world.store_answers_while(None, Err(Error::Forbidden(Forbidden::NotAMember)));
    assert_eq!(world.join().await, Ok(None));
    world.hub.publish(vec![world.joined(2), world.left(3)]);
    let expected = ["join_confirmation", "previous_messages", "member_joined", "member_left", "left"];
    assert_eq!(world.seen_up_to("left").await, expected, "nothing comes after `left`, and it comes once");
}

#[tokio::test(start_paused = true)]
async fn a_removal_ends_a_second_join_even_if_the_user_is_back() {
    let world = World::new();
    world.store_answers(&[world.joined(1)], 1);
    world.join().await.unwrap();
    world.seen();

    let (left, back) = (world.left(2), world.joined(3));
    world.store_answers(&[world.joined(1)], 3);
    let (hub, events) = (world.hub.clone(), vec![left.clone(), back.clone()]);
    let page = EventsPage { events: vec![left, back], head: Seq::new(3) };
    world.store_answers_while(Some(Box::new(move || hub.publish(events))), Ok(page));
    assert_eq!(world.join().await, Ok(None));
    let expected = ["join_confirmation", "previous_messages", "member_left", "left"];
    assert_eq!(
        world.seen_up_to("left").await,
        expected,
        "a page after `left` looks like an answer, and no subscription is behind it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_join_in_the_midst_of_a_removal_takes_a_seat() {
    let world = World::new();
    // The shard has removed the subscription, but not yet the room from the subscriber's list.
    world.subscriber.room_set().insert(world.room);
    world.store_answers(&[world.joined(1)], 1);
    assert_eq!(world.join().await, Ok(Some(Access::Member(world.user.id))));
    world.hub.publish(vec![world.joined(2)]);
    assert_eq!(world.seen_up_to("member_joined").await, ["join_confirmation", "previous_messages", "member_joined"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_after_the_last_page_closes_the_connection() {
    let world = World::new();
    // Another connection has brought the room up to 5.
    world.store_answers(&[1, 2, 3, 4, 5].map(|seq| world.joined(seq)), 5);
    world.join_as(&connection(&world.user, MAX_BYTES)).await.unwrap();

    world.store_answers(&[world.joined(1)], 1);
    world.store_answers_while(None, Err(Unavailable::StoreAway.into()));
    assert_eq!(world.join().await, Ok(None), "an error would come after the answer was whole");
    assert_eq!(world.subscriber.write_queue.closing(), Some(close::TRY_AGAIN_LATER));
}

#[tokio::test(start_paused = true)]
async fn an_outage_before_the_last_page_is_the_answer() {
    let world = World::new();
    world.store_answers(&[world.joined(1)], 2);
    world.store_answers_while(None, Err(Unavailable::StoreAway.into()));
    assert_eq!(world.join().await, Err(Unavailable::StoreAway.into()));
    assert_eq!(world.seen(), ["join_confirmation", "previous_messages"]);
}

/// A room with membership events only, which are created as they are read.
struct Memberships(Vec<Arc<Event>>);

#[async_trait]
impl RoomLog for Memberships {
    async fn events_after(&self, _: RoomId, _: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        let events = self.0.iter().filter(|event| event.seq > after).take(limit).cloned().collect();
        Ok(EventsPage { events, head: Seq::new(self.0.len() as u64) })
    }

    async fn newest(
        &self,
        _: RoomId,
        _: Access,
        (_, others): (usize, usize),
    ) -> Result<(Arc<Shared<Newest>>, Option<Turn>), Error> {
        let begin = self.0.len().saturating_sub(others);
        let (from, head) = (Seq::new(begin as u64 + 1), Seq::new(self.0.len() as u64));
        let newest = Newest { messages: Vec::new(), others: self.0[begin..].to_vec(), from, head };
        Ok((Arc::new(Shared::new(newest)), None))
    }

    async fn heads(&self, _: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        Ok(Vec::new())
    }

    fn epoch(&self) -> Epoch {
        Epoch::from_stored("one")
    }
}

/// The longest names and the shortest queue that the settings allow.
#[tokio::test(start_paused = true)]
async fn a_join_ends_however_long_names_are() {
    let limits = Limits { username_chars: 1_000, outbound_queue_bytes: 64 * 1024, message_bytes: 100, ..Limits::default() };
    let mut world = World::new();
    world.user.username = chatsphere_core::Username::from_stored("😀".repeat(1_000));
    let log = Memberships((1..=300).map(|seq| world.joined(seq)).collect());
    for since in [Some(0), None] {
        let write_queue = Arc::new(WriteQueue::new(Socket::Queued, limits.outbound_queue_bytes));
        let caller = Arc::new(Caller::operator(world.user.clone(), START));
        let subscriber = Arc::new(Subscriber::new(ConnectionId::new(START), caller, write_queue.clone()));
        let rights = || Ok(Access::Any);
        let request = Join { room: world.room, rights: &rights, since, epoch: None, reference: None };
        let reading = async {
            let mut longest = 0;
            while !subscriber.is_in(world.room) || write_queue.waiting_bytes() > 0 {
                longest = write_queue.take().iter().map(Bytes::len).fold(longest, usize::max);
                write_queue.taken_written();
                sleep(Duration::from_millis(1)).await;
            }
            longest
        };
        let joining = join(&world.hub, &log, &subscriber, &limits, Duration::from_secs(10), request);
        let (joined, longest) = timeout(Duration::from_secs(60), async { tokio::join!(joining, reading) }).await.unwrap();
        assert_eq!((joined, write_queue.closing()), (Ok(Some(Access::Any)), None), "{since:?}");
        assert!(longest > 0 && longest <= largest_frame(&limits), "{longest} bytes");
    }
}

/// The events of a message of the user that is edited and then deleted, the last as the store shows them.
struct Deleted {
    posted: Arc<Event>,
    edited: Arc<Event>,
    deleted: Arc<Event>,
    /// The event that posted it, with the tombstone.
    tombstone: Arc<Event>,
}

fn deleted(world: &World, seq: u64, text: &str, hard: bool) -> Deleted {
    let message = message(world.room, Seq::new(seq), world.user.clone(), text);
    let mut tombstone = Message { content: Content::from_stored(String::new()), ..message.clone() };
    let details = tombstone.details_mut();
    (details.deleted_at, details.removed) = (Some(message.created_at), hard);
    let changed = |at, how, message: &Message| {
        let message = EventMessage::Shown(Box::new(message.clone()));
        world.event(at, EventKind::MessageChanged { how, message, by: world.user.clone() })
    };
    Deleted {
        edited: changed(seq + 1, MessageChangeKind::Edited, &message),
        deleted: changed(seq + 2, MessageChangeKind::Deleted, &tombstone),
        posted: world.event(seq, EventKind::Message(message)),
        tombstone: world.event(seq, EventKind::Message(tombstone)),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_during_a_join_is_read_from_the_store() {
    let world = World::new();
    world.store_answers(&[world.joined(1)], 1);
    world.join().await.unwrap();
    let Deleted { posted, edited, deleted, tombstone } = deleted(&world, 2, "a secret", false);
    let (hub, committed) = (world.hub.clone(), vec![posted, edited, deleted.clone()]);
    let meanwhile: Meanwhile = Box::new(move || hub.publish(committed));
    world.store_answers_while(Some(meanwhile), Ok(EventsPage { events: vec![world.joined(1)], head: Seq::new(1) }));
    world.store_answers(&[tombstone, world.joined(3), deleted], 4);
    let second = connection(&world.user, MAX_BYTES);
    world.join_as(&second).await.unwrap();
    let seen = serde_json::to_string(&frames(&second.write_queue)).unwrap();
    assert!(seen.contains("message_deleted") && !seen.contains("a secret"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_its_deletion_is_shown_as_deleted() {
    let orders = [[3, 4, 5], [3, 5, 4], [4, 3, 5], [4, 5, 3], [5, 3, 4], [5, 4, 3]];
    for (hard, order) in [false, true].into_iter().flat_map(|hard| orders.map(|order| (hard, order))) {
        for place in 0..=3 {
            let mut order = order.to_vec();
            order.insert(place, 2);
            let world = World::new();
            world.store_answers(&[world.joined(1)], 1);
            world.join().await.unwrap();
            let Deleted { posted, edited, deleted, .. } = deleted(&world, 3, "a secret", hard);
            let events = [world.joined(2), posted, edited, deleted];
            for seq in &order {
                world.hub.publish(vec![events[seq - 2].clone()]);
            }
            settle().await;
            let seen = frames(&world.subscriber.write_queue);
            assert_eq!(seen.last().unwrap()["type"], "message_deleted", "{order:?}: {seen:?}");
            // What is next in order before the deletion arrives is delivered at once.
            let arrival = |wanted: usize| order.iter().position(|seq| *seq == wanted);
            let is_shown = arrival(2).max(arrival(3)) < arrival(5);
            let seen = serde_json::to_string(&seen).unwrap();
            assert_eq!(seen.contains("a secret"), is_shown, "{order:?}: {seen}");
            assert_eq!(seen.contains("message_removed"), hard && !is_shown, "{order:?}: {seen}");
        }
    }
}

/// A user whose replays may use one byte of memory.
fn budget() -> (Arc<Budget>, Arc<Account>, Owner) {
    let budget = Arc::new(Budget::new(&Limits { answer_bytes_per_user: 1, ..Limits::default() }));
    let owner = Owner::new(budget.clone(), Some(UserId::new(START)));
    (budget, owner.account(), owner)
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_memory() {
    let (world, (budget, account, owner)) = (World::new(), budget());
    world.subscriber.write_queue.count_for(owner);
    world.store_answers(&[world.joined(1)], 1);
    let other = budget.charge(Some(&account), 1);
    let joining = world.join();
    tokio::pin!(joining);
    let waits = timeout(Duration::from_secs(1), &mut joining).await;
    assert!(waits.is_err() && world.seen().is_empty(), "it has read a page that there is no memory for");
    drop(other);
    joining.await.unwrap();
    // A sent page counts until the socket has accepted it.
    assert!(!account.may_grow());
    assert_eq!(world.seen(), ["join_confirmation", "previous_messages"]);
    assert!(account.may_grow());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_gets_no_memory_is_begun_anew() {
    let (world, (budget, account, owner)) = (World::new(), budget());
    world.subscriber.write_queue.count_for(owner);
    let _other = budget.charge(Some(&account), 1);
    assert_eq!(world.join().await, Ok(None));
    assert_eq!(world.subscriber.write_queue.closing(), Some(close::TRY_AGAIN_LATER));
}

#[tokio::test(start_paused = true)]
async fn replays_that_wait_for_their_users_turn_hold_up_nobody_else() {
    let world = World::new();
    let (turns, other) = (Turns::new(2), UserId::new(START));
    let busy = turns.take(other, 1).await;
    let many = Script { turns: Some((turns, other)), ..Script::default() };
    let subscribers: Vec<_> = (0..100).map(|_| connection(&world.user, MAX_BYTES)).collect();
    let (limits, rights) = (Limits::default(), || Ok(Access::Any));
    let request = Join { room: world.room, rights: &rights, since: Some(0), epoch: None, reference: None };
    let joins =
        subscribers.iter().map(|subscriber| join(&world.hub, &many, subscriber, &limits, Duration::from_secs(10), request));
    let mut waiting = Box::pin(join_all(joins));
    assert!((&mut waiting).now_or_never().is_none());

    world.store_answers(&[world.joined(1)], 1);
    let joined = timeout(Duration::from_secs(1), world.join()).await;
    assert!(joined.is_ok(), "it waits behind replays that can't go on");

    for _ in &subscribers {
        many.answers.lock().unwrap().push_back((None, Ok(EventsPage { events: vec![world.joined(1)], head: Seq::new(1) })));
    }
    drop(busy);
    assert!(waiting.await.iter().all(Result::is_ok));
}

impl World {
    /// Asserts that the hub has forgotten the room, so that its NATS subscription ends.
    fn assert_forgotten(&self, after: &str) {
        assert_eq!(self.hub.room_count(), 0, "{after}");
        assert!(!self.hub.interest.wants(SubjectShard::of_room(self.room)), "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_that_comes_to_nothing_leaves_no_interest() {
    let world = World::new();
    for _ in 0..1_000 {
        for error in [Forbidden::NotAMember.into(), chatsphere_core::NotFound::Room.into(), Unavailable::StoreAway.into()] {
            world.store_answers_while(None, Err(error));
            assert!(world.join().await.is_err());
        }
    }
    world.assert_forgotten("refusals");

    world.store_answers(&[world.joined(1)], 2);
    world.store_answers_while(None, Err(Unavailable::StoreAway.into()));
    assert!(world.join().await.is_err());
    world.assert_forgotten("an outage between two pages");

    // The socket closes during a read.
    let (turns, user) = (Turns::new(1), UserId::new(START));
    let busy = turns.take(user, 1).await;
    let waits = Script { turns: Some((turns, user)), ..Script::default() };
    let rights = || Ok(Access::Any);
    let request = Join { room: world.room, rights: &rights, since: Some(0), epoch: None, reference: None };
    let limits = Limits::default();
    let mut joining = Box::pin(join(&world.hub, &waits, &world.subscriber, &limits, Duration::from_secs(10), request));
    assert!((&mut joining).now_or_never().is_none());
    assert!(world.hub.interest.wants(SubjectShard::of_room(world.room)), "events that come meanwhile are kept");
    drop((joining, busy));
    world.assert_forgotten("a cancelled join");

    world.store_answers(&[world.joined(1)], 1);
    world.hub.disconnect(&world.subscriber);
    assert_eq!(world.join().await, Ok(None));
    world.assert_forgotten("a join of a connection that is gone");
}

#[tokio::test(start_paused = true)]
async fn a_removal_of_the_last_subscriber_leaves_no_interest() {
    let world = World::new();
    world.store_answers(&[world.joined(1)], 1);
    world.join().await.unwrap();
    world.hub.publish(vec![world.left(2)]);
    world.seen_up_to("left").await;
    world.assert_forgotten("a removal");

    // The removal arrives before the subscription.
    world.store_answers_while(
        Some(Box::new({
            let (hub, left) = (world.hub.clone(), world.left(4));
            move || hub.publish(vec![left])
        })),
        Ok(EventsPage { events: vec![world.joined(3)], head: Seq::new(3) }),
    );
    world.join().await.unwrap();
    world.seen_up_to("left").await;
    world.assert_forgotten("a removal during the join");
}

/// A signal that a user types in the room, or has stopped.
fn typing(world: &World, user: &UserRef, on: bool) -> Signal {
    let kind = SignalKind::Typing { room_id: world.room, parent_id: None, on };
    Signal { topic: Topic::Room(world.room), user: user.clone(), from: None, after: Seq::new(1), kind }
}

#[tokio::test(start_paused = true)]
async fn typing_that_overtakes_a_join_is_shown_after_it() {
    let world = World::new();
    tokio::spawn(crate::signal::run(world.hub.clone()));
    let bob = UserRef { id: UserId::new(START), ..world.user.clone() };
    let signals = || -> Option<Meanwhile> {
        let (hub, signal) = (world.hub.clone(), typing(&world, &bob, true));
        Some(Box::new(move || hub.signal(signal)))
    };
    // The node's first subscription to the room.
    let page = |events: &[Arc<Event>], head| Ok(EventsPage { events: events.to_vec(), head: Seq::new(head) });
    world.store_answers_while(signals(), page(&[1, 2, 3, 4, 5].map(|seq| world.joined(seq)), 5));
    let first = connection(&world.user, MAX_BYTES);
    world.join_as(&first).await.unwrap();
    settle().await;
    assert_eq!(types(&first.write_queue), ["join_confirmation", "previous_messages", "typing"]);

    // Between the last page and the subscription.
    advance(Duration::from_secs(10)).await;
    world.store_answers(&[world.joined(1)], 1);
    world.store_answers_while(signals(), page(&[2, 3, 4, 5].map(|seq| world.joined(seq)), 5));
    world.join().await.unwrap();
    settle().await;
    let mut expected = vec!["join_confirmation", "previous_messages"];
    expected.extend(["member_joined"; 4]);
    expected.push("typing");
    assert_eq!(world.seen(), expected);
    assert_eq!(types(&first.write_queue), ["typing"], "once");
}

#[tokio::test(start_paused = true)]
async fn a_new_subscriber_is_shown_who_still_types() {
    let world = World::new();
    tokio::spawn(crate::signal::run(world.hub.clone()));
    let [bob, eve, joe] = ["bob", "eve", "joe"]
        .map(|name| UserRef { id: UserId::new(START), username: chatsphere_core::Username::from_stored(name.to_owned()) });
    let join = async || {
        let subscriber = connection(&world.user, MAX_BYTES);
        world.store_answers(&[world.joined(1)], 1);
        world.join_as(&subscriber).await.unwrap();
        settle().await;
        let mut seen: Vec<_> = frames(&subscriber.write_queue)[2..]
            .iter()
            .map(|frame| {
                (frame["user"]["username"].as_str().unwrap().to_owned(), frame["expiresInMs"].as_u64().unwrap().div_ceil(1_000))
            })
            .collect();
        seen.sort();
        seen
    };
    assert_eq!(join().await, []);
    for user in [&bob, &eve, &joe, &world.user] {
        world.hub.signal(typing(&world, user, true));
    }
    settle().await;
    world.hub.signal(typing(&world, &eve, false));
    advance(Duration::from_secs(2)).await;
    settle().await;
    let shown = |name: &str, seconds| (name.to_owned(), seconds);
    assert_eq!(join().await, [shown("bob", 4), shown("joe", 4)], "neither who has stopped nor the user itself");
    let by_joe = message(world.room, Seq::new(2), joe.clone(), "said");
    world.hub.signals.end_obsolete(&[world.event(2, EventKind::Message(by_joe))]);
    advance(Duration::from_secs(2)).await;
    assert_eq!(join().await, [shown("bob", 2)]);
    advance(Duration::from_secs(2)).await;
    assert_eq!(join().await, []);
}
