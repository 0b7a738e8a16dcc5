use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use chatsphere_core::{Caller, ConnectionId, Timestamp, UserId, UserRef};

use super::*;
use crate::outbound::{Outbound, Socket};

const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

/// A store that answers what it is told to, so that a removal can fall between two reads.
struct Script {
    pages: Mutex<VecDeque<Result<EventsPage, Error>>>,
}

#[async_trait]
impl RoomLog for Script {
    async fn events_after(&self, _: RoomId, _: Access, _: Seq, _: usize) -> Result<EventsPage, Error> {
        self.pages.lock().unwrap().pop_front().unwrap()
    }

    async fn newest(&self, _: RoomId, _: Access, _: usize, _: usize) -> Result<Arc<Shared<Newest>>, Error> {
        unreachable!("every join here brings `since`")
    }

    async fn heads(&self, _: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        Ok(Vec::new())
    }

    fn epoch(&self) -> Epoch {
        Epoch::from_stored("one")
    }
}

fn types(outbound: &Outbound) -> Vec<String> {
    let frames = outbound.take();
    outbound.taken_written();
    let bytes = frames.concat();
    let (mut rest, mut types) = (&bytes[..], Vec::new());
    while let [_, length, after @ ..] = rest {
        let (length, after) = match (length, after) {
            (126, [high, low, after @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), after),
            (length, after) => (usize::from(*length), after),
        };
        let json: serde_json::Value = serde_json::from_slice(&after[..length]).unwrap();
        types.push(json["type"].as_str().unwrap().to_owned());
        rest = &after[length..];
    }
    types
}

#[tokio::test]
async fn a_removal_during_a_second_join_is_told_once_and_last() {
    let user = UserRef { id: UserId::new(START), username: chatsphere_core::Username::from_stored("ada".to_owned()) };
    let room = RoomId::new(START);
    let event = |seq, kind| Arc::new(Event { room_id: room, seq: Seq::new(seq), at: START, kind });
    let joined = || EventKind::MemberJoined { user: user.clone(), by: user.clone() };
    let left = EventKind::MemberLeft { user: user.clone(), by: user.clone() };
    let first = event(1, joined());
    let page = |head| Ok(EventsPage { events: vec![first.clone()], head: Seq::new(head) });
    let pages = Mutex::new(VecDeque::from([page(1), page(2), Err(Error::Denied(Denial::NotAMember))]));
    let log = Script { pages };

    let (hub, tasks) = Hub::new(1);
    let hub = Arc::new(hub);
    for lane in tasks.lanes {
        let hub = hub.clone();
        tokio::spawn(async move { lane.run(&hub).await });
    }
    let outbound = Arc::new(Outbound::new(Socket::Queued, 1 << 20));
    let caller = Caller::operator(user.clone(), START);
    let listener = Arc::new(Listener::new(ConnectionId::new(START), Arc::new(caller), outbound.clone()));
    let rights = || Ok(Access::Member(user.id));
    let request = Join { room, rights: &rights, since: Some(0), epoch: None, reference: None };
    let (limits, patience) = (Limits::default(), Duration::from_secs(10));
    join(&hub, &log, &listener, &limits, patience, request).await.unwrap();
    assert_eq!(types(&outbound), ["join_confirmation", "previous_messages"]);

    // The store has the removal at 3 already when the second join reads on; the hub has not even heard of 2.
    join(&hub, &log, &listener, &limits, patience, request).await.unwrap();
    hub.publish(vec![event(2, joined()), event(3, left)]);
    let mut seen = types(&outbound);
    while seen.last().is_none_or(|last| last != "left") {
        outbound.work().await;
        seen.extend(types(&outbound));
    }
    // Whatever a lane would still send has its turn.
    tokio::task::yield_now().await;
    seen.extend(types(&outbound));
    let expected = ["join_confirmation", "previous_messages", "member_joined", "member_left", "left"];
    assert_eq!(seen, expected, "nothing comes after `left`, and it comes once");
}
