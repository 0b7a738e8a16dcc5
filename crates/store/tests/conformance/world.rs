//! Helpers that make the objects of a test.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chatsphere_core::store::{
    MemberRemoval, Members, MembershipChange, MembershipChanged, NewMember, NewMessage, NewRoom, NewToken, NewUser, Page,
    PageRequest, Revocation,
};
use chatsphere_core::{
    Access, Actor, ClientMessageId, Content, Error, Event, EventKind, Idempotency, Limits, Message, MessageId, Permissions,
    Role, Room, RoomId, RoomName, Seq, Timestamp, Token, TokenId, TokenType, User, UserId, UserRef, Username,
};

use crate::fixture::{Fixture, Node};

/// The tests' clock begins at 2027-01-15, so that no test depends on the date.
static NOW: AtomicI64 = AtomicI64::new(1_800_000_000_000);
static COUNT: AtomicU64 = AtomicU64::new(1);

/// Returns the time, which is later than that of the call before.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(NOW.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn name(text: &str) -> Username {
    Username::parse(text.to_owned(), &Limits::default()).unwrap()
}

pub(crate) fn content(text: &str) -> Content {
    Content::parse(text.to_owned(), &Limits::default()).unwrap()
}

pub(crate) fn client_id(text: &str) -> ClientMessageId {
    ClientMessageId::parse(text.to_owned(), &Limits::default()).unwrap()
}

pub(crate) fn idempotency(key: u8, body: u8) -> Idempotency {
    Idempotency { key: [key; 32], body: [body; 32], unkeyed_body: [body | 128; 32] }
}

pub(crate) fn new_message(room: RoomId, author: UserId, text: &str) -> NewMessage {
    let at = now();
    NewMessage {
        id: MessageId::new(at),
        room_id: room,
        author,
        access: Access::Member(author),
        actor: Actor::Operator,
        content: content(text),
        client_message_id: None,
        idempotency: None,
        at,
    }
}

pub(crate) fn new_token(user: UserId, parent: Option<TokenId>) -> NewToken {
    let created_at = Timestamp::from_millis(now().as_millis() / 1000 * 1000);
    let token = Token {
        id: TokenId::new(created_at),
        token_type: TokenType::User,
        user_id: user,
        permissions: Permissions::ALL,
        parent,
        email: None,
        created_at,
        expires_at: created_at.after(Duration::from_secs(3600)),
        revoked_at: None,
    };
    NewToken { token, actor: Actor::Operator, idempotency: None }
}

pub(crate) fn new_user(username: &str) -> NewUser {
    let at = now();
    let id = UserId::new(at);
    let (token, actor) = (new_token(id, None).token, Actor::Operator);
    NewUser { id, username: name(username), role: Role::Member, token, actor, idempotency: None, at }
}

pub(crate) fn new_room(owner: UserId) -> NewRoom {
    let at = now();
    let name = RoomName::from_stored(unique("room "));
    NewRoom { id: RoomId::new(at), name, owner, by: owner, actor: Actor::Operator, idempotency: None, at }
}

pub(crate) fn membership(room_id: RoomId, user_id: UserId, by: UserId) -> MembershipChange {
    MembershipChange { room_id, user_id, by, actor: Actor::Operator, idempotency: None, at: now() }
}

pub(crate) fn revocation(token: TokenId, at: Timestamp) -> Revocation {
    Revocation { token, actor: Actor::Operator, at }
}

pub(crate) fn first(limit: usize) -> PageRequest {
    PageRequest { cursor: None, limit }
}

/// Returns a page of members without its `head`.
pub(crate) async fn page_of(members: impl Future<Output = Result<Members, Error>>) -> Result<Page<UserRef>, Error> {
    Ok(members.await?.page)
}

/// Reads a list to its end, page by page, and checks that every page but the last is full.
pub(crate) async fn all_pages<T, F>(limit: usize, mut read: impl FnMut(PageRequest) -> F) -> Vec<T>
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    let (mut items, mut request) = (Vec::new(), first(limit));
    loop {
        let page = read(request).await.unwrap();
        assert!(page.items.len() == limit || page.next.is_none());
        items.extend(page.items);
        match page.next {
            Some(cursor) => request.cursor = Some(cursor),
            None => return items,
        }
    }
}

/// A node with some users and rooms.
pub(crate) struct World {
    pub(crate) node: Node,
    /// The owner of the rooms.
    pub(crate) ada: User,
    pub(crate) bob: User,
}

impl World {
    pub(crate) async fn new(fixture: &Fixture) -> Self {
        Self::on(fixture.node().await).await
    }

    pub(crate) async fn on(node: Node) -> Self {
        let ada = node.store.submit(new_user(&unique("ada"))).await.unwrap().value.user;
        let bob = node.store.submit(new_user(&unique("bob"))).await.unwrap().value.user;
        Self { node, ada, bob }
    }

    /// Creates a room whose only member is Ada.
    pub(crate) async fn room(&self) -> Room {
        self.node.store.submit(new_room(self.ada.id)).await.unwrap().value
    }

    pub(crate) async fn add(&self, room: RoomId, user: UserId) -> MembershipChanged {
        self.node.store.submit(NewMember(membership(room, user, self.ada.id))).await.unwrap().value
    }

    pub(crate) async fn remove(&self, room: RoomId, user: UserId) -> MembershipChanged {
        self.node.store.submit(MemberRemoval(membership(room, user, self.ada.id))).await.unwrap().value
    }

    /// Posts a message of Ada's.
    pub(crate) async fn post(&self, room: RoomId, text: &str) -> Message {
        self.node.store.submit(new_message(room, self.ada.id, text)).await.unwrap().value
    }

    /// Runs `submit` while the writer is blocked, so that all its writes share one batch.
    pub(crate) async fn in_one_batch<T>(&self, submit: impl AsyncFnOnce() -> T) -> T {
        let decoy = self.room().await;
        self.node.sink.hold();
        let held = self.node.store.submit(new_message(decoy.id, self.ada.id, "holds the writer up"));
        self.node.sink.wait_until_held();
        let submitted = submit().await;
        self.node.sink.release();
        held.await.unwrap();
        submitted
    }
}

/// Returns the room's events from 1 to its head, after checking that there is no gap.
pub(crate) async fn all_events(node: &Node, room: RoomId) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event| event.seq);
        let page = node.store.events_after(room, Access::Any, after, 100).await.unwrap();
        if page.events.is_empty() {
            assert_eq!(page.head, after);
            break;
        }
        events.extend(page.events.iter().map(|event| Event::clone(event)));
    }
    for (index, event) in events.iter().enumerate() {
        assert_eq!((event.seq.get(), event.room_id), (index as u64 + 1, room));
    }
    events
}

pub(crate) fn text_of(event: &Event) -> Option<&str> {
    if let EventKind::Message(message) = &event.kind { Some(message.content.as_str()) } else { None }
}
