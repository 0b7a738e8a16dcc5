//! Helpers that the tests of several modules share.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{Caller, ConnectionId, Content, Message, MessageId, RoomId, Seq, Timestamp, UserId, UserRef, Username};
use serde_json::Value;
use tokio::time::sleep;

use crate::batch::OneByOne;
use crate::fanout_shard::FanoutShard;
use crate::hub::Hub;
use crate::subscriber::Subscriber;
use crate::write_queue::{Socket, WriteQueue};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

pub(crate) fn user(name: &str) -> UserRef {
    UserRef { id: UserId::new(START), username: Username::from_stored(name.to_owned()) }
}

/// A connection whose frames stay in its queue of at most `max_bytes`.
pub(crate) fn connection(user: &UserRef, max_bytes: usize) -> Arc<Subscriber> {
    let write_queue = Arc::new(WriteQueue::new(Socket::Queued, max_bytes));
    let caller = Arc::new(Caller::operator(user.clone(), START));
    Arc::new(Subscriber::new(ConnectionId::new(START), caller, write_queue))
}

pub(crate) fn message(room_id: RoomId, seq: Seq, author: UserRef, text: &str) -> Message {
    Message {
        id: MessageId::new(START),
        room_id,
        author,
        seq,
        content: Content::from_stored(text.to_owned()),
        client_message_id: None,
        created_at: START,
        updated_at: START,
        details: None,
    }
}

/// Runs shards of the hub, each in a task of its own.
pub(crate) fn spawn_shards(hub: &Arc<Hub>, shards: impl IntoIterator<Item = FanoutShard>) {
    for shard in shards {
        let hub = hub.clone();
        tokio::spawn(async move { shard.run(&hub, OneByOne).await });
    }
}

/// Waits until all tasks are idle, without advancing the clock.
pub(crate) async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

/// The payloads of consecutive, unmasked server frames (RFC 6455, sections 5.1 and 5.2).
pub(crate) fn payloads(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while !bytes.is_empty() {
        let (head, length) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
            length => (2, usize::from(length)),
        };
        payloads.push(&bytes[head..head + length]);
        bytes = &bytes[head + length..];
    }
    payloads
}

/// Takes the frames out of a queue.
pub(crate) fn frames(write_queue: &WriteQueue) -> Vec<Value> {
    let bytes = write_queue.take().concat();
    write_queue.taken_written();
    payloads(&bytes).into_iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
}

/// Takes the frames out of a queue, and returns their types.
pub(crate) fn types(write_queue: &WriteQueue) -> Vec<String> {
    frames(write_queue).iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
}
