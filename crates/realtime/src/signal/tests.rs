use bytes::Bytes;
use chatsphere_core::signal::{SignalData, SignalName};
use chatsphere_core::{Access, Event, EventKind, SignalSink, UserRef};
use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use super::*;
use crate::subscriber::Subscriber;
use crate::testing::{START, connection, frames, message, settle, spawn_shards, types, user};
use crate::write_queue::Socket;

const MAX_BYTES: usize = 1 << 20;

/// A hub with a room whose newest event is 1.
struct World {
    hub: Arc<Hub>,
    room: RoomId,
}

impl World {
    fn new() -> Self {
        let (hub, tasks) = Hub::new(1);
        let hub = Arc::new(hub);
        spawn_shards(&hub, tasks.shards.into_iter().chain(tasks.large_rooms));
        tokio::spawn(run(hub.clone()));
        Self { hub, room: RoomId::new(START) }
    }

    fn join(&self, user: &UserRef) -> Arc<WriteQueue> {
        self.join_with(user, MAX_BYTES)
    }

    fn join_with(&self, user: &UserRef, max_bytes: usize) -> Arc<WriteQueue> {
        self.subscribe(user, max_bytes).write_queue.clone()
    }

    fn subscribe(&self, user: &UserRef, max_bytes: usize) -> Arc<Subscriber> {
        let subscriber = connection(user, max_bytes);
        self.hub.pin(self.room).room.subscribe(&subscriber, Access::Member(user.id), Seq::new(1), MAX_BYTES, None);
        self.hub.signals.joined(self.room, &subscriber);
        subscriber
    }

    fn typing(&self, user: &UserRef, after: u64, on: bool) {
        let kind = SignalKind::Typing { room_id: self.room, parent_id: None, on };
        self.hub.signal(Signal { topic: Topic::Room(self.room), user: user.clone(), from: None, after: Seq::new(after), kind });
    }

    /// Sends a signal of the application.
    fn sends(&self, user: &UserRef, from: Option<ConnectionId>, after: u64, data: &str) {
        let (name, data) = (SignalName::parse("move".to_owned()).unwrap(), SignalData::parse(data).unwrap());
        let kind = SignalKind::Custom { room_id: self.room, name, data };
        self.hub.signal(Signal { topic: Topic::Room(self.room), user: user.clone(), from, after: Seq::new(after), kind });
    }

    fn happens(&self, seq: u64, kind: EventKind) {
        self.hub.publish(vec![Arc::new(Event { room_id: self.room, seq: Seq::new(seq), at: START, kind })]);
    }

    fn says(&self, seq: u64, author: &UserRef) {
        let message = message(self.room, Seq::new(seq), author.clone(), "said");
        self.happens(seq, EventKind::Message(message));
    }

    fn frame(&self, user: &UserRef, expires_in_ms: u64) -> Value {
        let user = json!({ "id": user.id, "username": user.username.as_str() });
        json!({ "type": "typing", "roomId": self.room, "user": user, "expiresInMs": expires_in_ms })
    }
}

/// A signal with an empty frame.
fn signal_to_all() -> RoomSignal<'static> {
    RoomSignal {
        frame: Bytes::from_static(&[0x81, 2, b'{', b'}']),
        except: Except::Nobody,
        to: None,
        after: Seq::ZERO,
        ended: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_reaches_all_but_the_connections_of_its_user() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let (of_ada, other_of_ada, of_bob) = (world.join(&ada), world.join(&ada), world.join(&bob));
    world.typing(&ada, 1, true);
    settle().await;
    assert_eq!(frames(&of_bob), [world.frame(&ada, 6_000)]);
    world.typing(&ada, 1, false);
    settle().await;
    assert_eq!(frames(&of_bob), [world.frame(&ada, 0)]);
    // Signals with the same key merge before delivery, even if they contradict each other.
    for on in [true, false, true] {
        world.typing(&ada, 1, on);
    }
    settle().await;
    assert_eq!(frames(&of_bob), [world.frame(&ada, 6_000)]);
    assert!(frames(&of_ada).is_empty() && frames(&other_of_ada).is_empty());
    sleep(TYPING_EXPIRES + COUNT_EVERY).await;
    assert!(world.hub.signals.is_idle());
}

#[tokio::test(start_paused = true)]
async fn who_is_behind_gets_events_but_no_signals() {
    let world = World::new();
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    let (slow, quick) = (world.join_with(&bob, 4_000), world.join(&eve));
    // More than a quarter of the bound.
    slow.send(Bytes::from([0x8a, 0].repeat(600)));
    world.typing(&ada, 1, true);
    world.says(2, &ada);
    world.typing(&ada, 2, true);
    sleep(RETRY * 2).await;
    assert_eq!(types(&quick), ["new_message", "typing"]);
    assert_eq!(slow.take().len(), 2, "pings and the message");
    slow.taken_written();
    assert_eq!(slow.closing(), None);
    world.typing(&ada, 2, false);
    settle().await;
    assert_eq!(types(&slow), ["typing"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_waits_for_the_events_before_it_and_no_longer_than_a_while() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let of_bob = world.join(&bob);
    // Its sender's rights were checked in a snapshot with event 2.
    world.typing(&ada, 2, true);
    settle().await;
    assert!(frames(&of_bob).is_empty());
    world.happens(2, EventKind::MemberJoined { user: ada.clone(), by: bob.clone() });
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["member_joined", "typing"]);
    // Event 3 never arrives.
    world.typing(&ada, 3, true);
    sleep(PATIENCE + RETRY * 2).await;
    assert!(world.hub.signals.state().pending.is_empty());
    world.says(3, &bob);
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["new_message"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_reaches_who_is_removed_once_that_is_committed() {
    let world = World::new();
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    let (of_bob, of_eve) = (world.join(&bob), world.join(&eve));
    // The removal is committed but not delivered; a signal checked before it arrives now.
    world.happens(2, EventKind::MemberLeft { user: bob.clone(), by: ada.clone() });
    world.typing(&ada, 1, true);
    let mut place = usize::MAX;
    assert_eq!(world.hub.room(world.room).unwrap().signal(&signal_to_all(), &mut place), Signalled::Behind);
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["member_left", "left"]);
    assert_eq!(types(&of_eve), ["member_left", "typing"]);
    // Others do not see the removed user type either.
    world.typing(&bob, 2, true);
    world.happens(3, EventKind::MemberLeft { user: bob.clone(), by: ada.clone() });
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_eve), ["member_left"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_ends_its_authors_typing_and_none_after_it() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let of_bob = world.join(&bob);
    world.typing(&ada, 2, true);
    settle().await;
    world.says(3, &ada);
    world.says(2, &bob);
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["new_message", "new_message"]);
    // The bus brings a message late.
    world.typing(&ada, 4, true);
    settle().await;
    world.says(4, &ada);
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["new_message", "typing"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_ends_its_authors_typing_however_late_that_is_delivered() {
    let world = World::new();
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    let of_bob = world.join(&bob);
    // This waits for event 2, and others are delivered meanwhile.
    world.typing(&ada, 2, true);
    for _ in 0..10 {
        let other = user("other");
        world.typing(&other, 1, true);
    }
    for _ in 0..3 {
        yield_now().await;
    }
    world.happens(2, EventKind::MemberJoined { user: eve.clone(), by: bob.clone() });
    world.says(3, &ada);
    sleep(RETRY * 2).await;
    let of_ada = |frame: &&Value| frame["user"]["id"] == json!(ada.id) || frame["type"] == "new_message";
    let seen = frames(&of_bob);
    let seen: Vec<_> = seen.iter().filter(of_ada).map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(seen, ["new_message"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_room_is_told_how_many_type() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let all: Vec<_> = (0..COUNTED_FROM).map(|_| world.join(&bob)).collect();
    world.typing(&ada, 1, true);
    world.typing(&bob, 1, true);
    let count = |count: usize| json!({ "type": "typing_count", "roomId": world.room, "count": count });
    sleep(COUNT_EVERY / 2).await;
    assert!(all.iter().all(|write_queue| frames(write_queue).is_empty()));
    sleep(COUNT_EVERY).await;
    assert!(all.iter().all(|write_queue| frames(write_queue) == [count(2)]));
    world.says(2, &ada);
    sleep(COUNT_EVERY).await;
    assert!(all.iter().all(|write_queue| frames(write_queue)[1..] == [count(1)]));
    // Expires without a signal, after 6 s in all.
    sleep(TYPING_EXPIRES).await;
    let counts = frames(&all[0]);
    let (last, before) = counts.split_last().unwrap();
    assert!(before.len() >= 3 && before.iter().all(|one| *one == count(1)) && *last == count(0), "{counts:?}");
    assert!(world.hub.signals.is_idle());
    sleep(TYPING_EXPIRES).await;
    assert!(frames(&all[0]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn however_many_come_few_are_kept() {
    let (hub, _tasks) = Hub::new(1);
    let room = RoomId::new(START);
    for number in 0..3 * MAX_PENDING {
        let kind = SignalKind::Typing { room_id: room, parent_id: None, on: true };
        hub.signal(Signal { topic: Topic::Room(room), user: user(&number.to_string()), from: None, after: Seq::ZERO, kind });
    }
    assert_eq!(hub.signals.state().pending.len(), MAX_PENDING);
    let hub = Arc::new(hub);
    let task = tokio::spawn(run(hub.clone()));
    while !hub.signals.is_idle() {
        settle().await;
    }
    assert_eq!(hub.signals.state().queue.capacity(), 0);
    task.abort();
    // Not even users whose messages are stored each time.
    let ada = user("ada");
    let posted = EventKind::Message(message(room, Seq::new(1), ada.clone(), "said"));
    for _ in 0..3 * MAX_PENDING {
        let kind = SignalKind::Typing { room_id: room, parent_id: None, on: true };
        hub.signal(Signal { topic: Topic::Room(room), user: ada.clone(), from: None, after: Seq::ZERO, kind });
        hub.signals.end_obsolete(&[Arc::new(Event { room_id: room, seq: Seq::new(1), at: START, kind: posted.clone() })]);
    }
    assert!(hub.signals.state().queue.len() <= MAX_PENDING);
    advance(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_to_a_user_reaches_its_connections_whatever_they_have_joined() {
    struct Book(UserId, Vec<Arc<WriteQueue>>);
    impl Connections for Book {
        fn of_user(&self, user: UserId) -> Vec<Arc<WriteQueue>> {
            if user == self.0 { self.1.clone() } else { Vec::new() }
        }
    }
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let connections: Vec<_> = (0..2).map(|_| Arc::new(WriteQueue::new(Socket::Queued, MAX_BYTES))).collect();
    let book: Arc<dyn Connections> = Arc::new(Book(bob.id, connections.clone()));
    world.hub.set_connections(Arc::downgrade(&book));
    for to in [ada.id, bob.id] {
        let kind = SignalKind::Typing { room_id: world.room, parent_id: None, on: true };
        world.hub.signal(Signal { topic: Topic::User(to), user: ada.clone(), from: None, after: Seq::ZERO, kind });
    }
    settle().await;
    assert!(connections.iter().all(|write_queue| frames(write_queue) == [world.frame(&ada, 6_000)]));
}

#[tokio::test(start_paused = true)]
async fn a_new_subscriber_who_is_being_removed_is_shown_nobody() {
    let world = World::new();
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    let of_eve = world.join(&eve);
    world.typing(&ada, 1, true);
    settle().await;
    assert_eq!(types(&of_eve), ["typing"]);
    // The removal is committed but not delivered.
    let of_bob = world.join(&bob);
    world.happens(2, EventKind::MemberLeft { user: bob.clone(), by: ada.clone() });
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["member_left", "left"]);
    // Somebody else's removal delays it only.
    let of_joe = world.join(&user("joe"));
    world.happens(3, EventKind::MemberLeft { user: eve.clone(), by: ada.clone() });
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_joe), ["member_left", "member_left", "typing"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_subscriber_is_shown_who_types_once_it_has_read_its_replay() {
    let world = World::new();
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    world.join(&eve);
    world.typing(&ada, 1, true);
    settle().await;
    let of_bob = world.join_with(&bob, 4_000);
    of_bob.send(Bytes::from([0x8a, 0].repeat(600)));
    sleep(RETRY * 2).await;
    assert_eq!(of_bob.take().len(), 1, "the replay");
    of_bob.taken_written();
    sleep(RETRY * 2).await;
    assert_eq!(types(&of_bob), ["typing"]);
    sleep(RETRY * 2).await;
    assert!(frames(&of_bob).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_departure_between_two_parts_hides_a_signal_from_nobody() {
    for number in 0..5 {
        let world = World::new();
        let all: Vec<_> = (0..5).map(|_| world.subscribe(&user("bob"), MAX_BYTES)).collect();
        let room = world.hub.room(world.room).unwrap();
        let (signal, mut place) = (signal_to_all(), usize::MAX);
        assert!(matches!(room.signal(&signal, &mut place), Signalled::Sent { more: true, .. }));
        world.hub.leave(&all[number], world.room);
        while place > 0 {
            room.signal(&signal, &mut place);
        }
        let missed = all.iter().filter(|subscriber| subscriber.write_queue.waiting_bytes() == 0);
        assert!(missed.into_iter().all(|subscriber| subscriber.id == all[number].id), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_type_cost_little() {
    let world = World::new();
    let type_all = |count| (0..count).for_each(|number: usize| world.typing(&user(&number.to_string()), 1, true));
    let drain = async || {
        while world.hub.signals.waiting() > 0 {
            settle().await;
        }
    };
    // Nobody listens: nothing is kept, and nothing read from the store.
    type_all(10_000);
    drain().await;
    assert!(world.hub.signals.is_idle() && world.hub.room_count() == 0);
    // Few listen: the latest signal of each user waits, and only so many are shown to a new subscriber.
    let of_bob = world.join(&user("bob"));
    for _ in 0..3 {
        type_all(4_000);
        drain().await;
        of_bob.take();
        of_bob.taken_written();
    }
    assert!((1..=200).contains(&world.hub.signals.state().typists.users()));
    // Many listen, and get the number.
    for _ in 0..COUNTED_FROM {
        world.join(&user("bob"));
    }
    sleep(TYPING_EXPIRES + COUNT_EVERY).await;
    for _ in 0..8 {
        type_all(4_000);
        drain().await;
    }
    assert_eq!(world.hub.signals.state().typists.users(), typists::MAX_TYPISTS);
    sleep(TYPING_EXPIRES + COUNT_EVERY).await;
    assert!(world.hub.signals.is_idle());
}

/// The content of each signal of the application, and the type of each other frame.
fn contents(write_queue: &WriteQueue) -> Vec<Value> {
    let content = |frame: &Value| frame.get("data").unwrap_or(&frame["type"]).clone();
    frames(write_queue).iter().map(content).collect()
}

#[tokio::test(start_paused = true)]
async fn an_applications_signals_reach_all_other_connections_and_are_not_merged() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let (of_ada, of_bob) = (world.join(&ada), world.join(&bob));
    let sender = world.subscribe(&ada, MAX_BYTES);
    for data in ["1", "1", "2"] {
        world.sends(&ada, Some(sender.id), 1, data);
    }
    settle().await;
    for write_queue in [&of_ada, &of_bob] {
        assert_eq!(contents(write_queue), [1, 1, 2]);
    }
    assert!(frames(&sender.write_queue).is_empty());
    // Over REST.
    world.sends(&ada, None, 1, "[]");
    settle().await;
    for write_queue in [&of_ada, &of_bob, &sender.write_queue] {
        assert_eq!(contents(write_queue), [json!([])]);
    }
    assert!(world.hub.signals.is_idle());
}

#[tokio::test(start_paused = true)]
async fn signals_of_a_user_stay_in_order_while_one_waits_for_events() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let of_bob = world.join(&bob);
    world.sends(&ada, None, 2, "1");
    world.sends(&ada, None, 1, "2");
    world.sends(&bob, None, 1, "3");
    settle().await;
    world.sends(&ada, None, 1, "4");
    sleep(RETRY * 2).await;
    assert_eq!(contents(&of_bob), [3]);
    world.happens(2, EventKind::MemberJoined { user: ada.clone(), by: bob.clone() });
    sleep(RETRY * 2).await;
    assert_eq!(contents(&of_bob), [json!("member_joined"), json!(1), json!(2), json!(4)]);
}

#[tokio::test(start_paused = true)]
async fn a_departure_ends_all_signals_of_its_user_and_a_message_only_typing() {
    let world = World::new();
    let (ada, bob) = (user("ada"), user("bob"));
    let of_bob = world.join(&bob);
    world.typing(&ada, 2, true);
    world.sends(&ada, None, 2, "1");
    world.says(3, &ada);
    world.says(2, &bob);
    sleep(RETRY * 2).await;
    assert_eq!(contents(&of_bob), [json!("new_message"), json!("new_message"), json!(1)]);
    world.sends(&ada, None, 4, "2");
    world.sends(&bob, None, 4, "3");
    settle().await;
    world.happens(5, EventKind::MemberLeft { user: ada.clone(), by: bob.clone() });
    world.says(4, &bob);
    sleep(RETRY * 2).await;
    assert_eq!(contents(&of_bob), [json!("new_message"), json!("member_left"), json!(3)]);
    assert!(world.hub.signals.is_idle());
}
