//! Measures how many messages a second a store appends:
//!
//! Each sender waits for its answer before it sends again, like a client that wants each message acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement, not a part of the program"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chatsphere_core::store::{MembershipChange, NewMember, NewMessage, NewRoom, NewUser};
use chatsphere_core::{
    Access, Actor, Clock, CommitSink, Committed, Content, MessageId, Permissions, Role, RoomId, RoomName, SystemClock, Token,
    TokenId, TokenType, UserId, Username,
};
use chatsphere_store::{Fingerprint, KeyFingerprints, OpenOptions};

#[derive(Default)]
struct Count {
    batches: AtomicU64,
}

impl CommitSink for Count {
    fn committed(&self, _: Committed) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "sqlite:append_rate.db".to_owned()).parse().unwrap();
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (senders, seconds, rooms) = (number(500), number(5), number(20));
    let keys = KeyFingerprints {
        user: Fingerprint::new("user"),
        user_previous: None,
        client: Fingerprint::new("client"),
        client_previous: None,
        content: None,
        content_is_generated: false,
    };
    let sink = Arc::new(Count::default());
    let store = chatsphere_store::open(OpenOptions::new(url, keys, Arc::clone(&sink) as Arc<dyn CommitSink>)).await.unwrap();

    let at = SystemClock.now();
    let (mut users, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..senders {
        let id = UserId::new(at);
        let token_id = TokenId::new(at);
        let token = Token {
            id: token_id,
            token_type: TokenType::User,
            user_id: id,
            permissions: Permissions::ALL,
            parent: None,
            email: None,
            created_at: at,
            expires_at: at.after(Duration::from_secs(24 * 60 * 60)),
            revoked_at: None,
        };
        let username = Username::from_stored(id.to_string());
        store
            .submit(NewUser { id, username, role: Role::Member, token, actor: Actor::Operator, idempotency: None, at })
            .await
            .unwrap();
        users.push(id);
        tokens.push(token_id);
    }
    let mut room_ids = Vec::new();
    for _ in 0..rooms {
        let id = RoomId::new(at);
        let name = RoomName::from_stored("room".to_owned());
        store
            .submit(NewRoom { id, name, owner: users[0], by: users[0], actor: Actor::Operator, idempotency: None, at })
            .await
            .unwrap();
        room_ids.push(id);
    }
    for (index, user) in users.iter().enumerate() {
        let room_id = room_ids[index % room_ids.len()];
        let change = MembershipChange { room_id, user_id: *user, by: users[0], actor: Actor::Operator, idempotency: None, at };
        store.submit(NewMember(change)).await.unwrap();
    }

    sink.batches.store(0, Ordering::Relaxed);
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for (index, (author, token)) in users.into_iter().zip(tokens).enumerate() {
        let (store, room_id) = (Arc::clone(&store), room_ids[index % room_ids.len()]);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let at = SystemClock.now();
                let asked = Instant::now();
                let new = NewMessage {
                    id: MessageId::new(at),
                    room_id,
                    author,
                    access: Access::Member(author),
                    actor: Actor::Token(token),
                    content: Content::from_stored("x".repeat(200)),
                    client_message_id: None,
                    idempotency: None,
                    at,
                };
                store.submit(new).await.unwrap();
                latencies.push(asked.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |part: usize| latencies[count * part / 1000].as_secs_f64() * 1000.0;
    let (rate, batch) = (count as f64 / elapsed, count as f64 / sink.batches.load(Ordering::Relaxed) as f64);
    println!(
        "{count} messages in {elapsed:.1} s by {senders} senders in {rooms} rooms: {rate:.0}/s, {batch:.0} a commit; \
         latency p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(500),
        at(990),
        latencies[count - 1].as_secs_f64() * 1000.0
    );
    store.close().await;
}
