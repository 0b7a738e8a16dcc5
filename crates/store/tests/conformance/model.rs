//! Compares random writes with a simple model in memory. A failure prints its seed; `CHATSPHERE_TEST_SEED` repeats it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::{
    Changed, HistoryRange, IDEMPOTENCY_KEPT, MemberRemoval, MembershipChange, MembershipChanged, MessageDeletion, MessageEdit,
    NewMember, NewMessage, NewRoom, NewToken, NewUser, PinChange, RoomFilter, UserChange,
};
use chatsphere_core::{
    Access, Actor, Conflict, Content, ControlChange, ControlPosition, Done, Error, Event, EventKind, EventMessage, Forbidden,
    Idempotency, Message, MessageChangeKind, MessageId, NotFound, Permissions, Role, Room, RoomId, RoomName, Seq, Timestamp,
    Token, TokenId, TokenRefusal, TokenType, TokenWithUser, User, UserId, UserRef, Version,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::fixture::{Fixture, Node};
use crate::on_every_database;
use crate::world::{all_events, all_pages, client_id, content, idempotency, name, page_of, revocation};

on_every_database!(random_writes_do_what_the_model_does);

/// The stored outcome of a key.
#[derive(Clone)]
enum Outcome {
    Message(RoomId, Seq),
    Token(TokenWithUser),
    Room(Room),
    Membership(MembershipChanged),
}

#[derive(Default)]
struct Model {
    users: Vec<User>,
    tokens: Vec<Token>,
    rooms: Vec<Room>,
    members: BTreeMap<RoomId, Vec<UserId>>,
    events: BTreeMap<RoomId, Vec<Event>>,
    /// Changed messages in their current state.
    changed: HashMap<MessageId, Message>,
    keys: HashMap<[u8; 32], ([u8; 32], Outcome, Timestamp)>,
    control: Vec<ControlChange>,
}

fn done<T>(value: T, replayed: bool) -> Result<Done<T>, Error> {
    Ok(Done { value, replayed })
}

impl Model {
    fn user(&self, id: UserId) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// Returns a message in its current state, with the current name of its author.
    fn present_message(&self, message: &Message) -> Message {
        let author = UserRef::from(self.user(message.author.id).unwrap());
        Message { author, ..self.changed.get(&message.id).unwrap_or(message).clone() }
    }

    /// Returns an event with current names and messages. The message of an edit is reduced to its key, because whether a page
    /// shows it depends on the page.
    fn present(&self, event: &Event) -> Event {
        let named = |user: &UserRef| UserRef::from(self.user(user.id).unwrap());
        let kind = match &event.kind {
            EventKind::Message(message) => match self.present_message(message) {
                present if present.is_removed() => EventKind::MessageRemoved { message_id: present.id },
                present => EventKind::Message(present),
            },
            EventKind::MemberJoined { user, by } => EventKind::MemberJoined { user: named(user), by: named(by) },
            EventKind::MemberLeft { user, by } => EventKind::MemberLeft { user: named(user), by: named(by) },
            EventKind::MessageChanged { how, message, by } => {
                EventKind::MessageChanged { how: *how, message: EventMessage::Superseded(message.key()), by: named(by) }
            }
            EventKind::MessageRemoved { .. } | EventKind::Unknown { .. } => event.kind.clone(),
        };
        Event { kind, ..event.clone() }
    }

    fn message(&self, room: RoomId, seq: Seq) -> Message {
        let event = &self.events[&room][seq.previous().get() as usize];
        self.present_message(event.message().expect("no message"))
    }

    fn earlier(&self, key: Option<Idempotency>, at: Timestamp) -> Result<Option<Outcome>, Error> {
        let Some(key) = key else { return Ok(None) };
        match self.keys.get(&key.key) {
            Some((_, _, stored)) if stored.after(IDEMPOTENCY_KEPT) < at => Ok(None),
            Some((body, ..)) if *body != key.body => Err(Conflict::IdempotencyKeyReused.into()),
            found => Ok(found.map(|(_, outcome, _)| outcome.clone())),
        }
    }

    fn keep(&mut self, key: Option<Idempotency>, outcome: Outcome, at: Timestamp) {
        if let Some(key) = key {
            self.keys.insert(key.key, (key.body, outcome, at));
        }
    }

    /// Adds the room's next event.
    fn add_event(&mut self, room: RoomId, at: Timestamp, kind: impl FnOnce(Seq) -> EventKind) -> Seq {
        let row = self.rooms.iter_mut().find(|row| row.id == room).unwrap();
        row.seq = row.seq.next();
        let event = Event { room_id: room, seq: row.seq, at, kind: kind(row.seq) };
        match &event.kind {
            EventKind::Message(_) => row.message_count += 1,
            EventKind::MemberJoined { .. } => row.member_count += 1,
            EventKind::MemberLeft { .. } => row.member_count -= 1,
            EventKind::MessageChanged { .. } | EventKind::MessageRemoved { .. } | EventKind::Unknown { .. } => {}
        }
        let seq = row.seq;
        self.events.entry(room).or_default().push(event);
        seq
    }

    fn append(&mut self, new: &NewMessage) -> Result<Done<Message>, Error> {
        let exists = self.rooms.iter().any(|room| room.id == new.room_id);
        match new.access {
            Access::Any if !exists => return Err(Error::NotFound(NotFound::Room)),
            Access::Member(user) if !exists || !self.members[&new.room_id].contains(&user) => {
                return Err(Forbidden::NotAMember.into());
            }
            _ => {}
        }
        let author = UserRef::from(self.user(new.author).ok_or(Error::NotFound(NotFound::User))?);
        match self.earlier(new.idempotency, new.at)? {
            Some(Outcome::Message(room, seq)) => return done(self.message(room, seq), true),
            Some(_) => return Err(Conflict::IdempotencyKeyReused.into()),
            None => {}
        }
        let same = self.events[&new.room_id].iter().find_map(|event| match &event.kind {
            EventKind::Message(message)
                if new.client_message_id.is_some()
                    && message.client_message_id == new.client_message_id
                    && message.author.id == new.author =>
            {
                Some(message.clone())
            }
            _ => None,
        });
        let (seq, replayed) = match same {
            Some(same) if same.content != new.content && !self.present_message(&same).is_deleted() => {
                return Err(Conflict::ClientMessageIdReused.into());
            }
            Some(same) => (same.seq, true),
            None => {
                let new = new.clone();
                let kind = |seq| {
                    EventKind::Message(Message {
                        id: new.id,
                        room_id: new.room_id,
                        author,
                        seq,
                        content: new.content,
                        client_message_id: new.client_message_id,
                        created_at: new.at,
                        updated_at: new.at,
                        details: None,
                    })
                };
                (self.add_event(new.room_id, new.at, kind), false)
            }
        };
        self.keep(new.idempotency, Outcome::Message(new.room_id, seq), new.at);
        done(self.message(new.room_id, seq), replayed)
    }

    /// Finds a message like `find_any`, unless it was deleted for good.
    fn find(&self, room: RoomId, message: MessageId) -> Result<Changed, Error> {
        let found = self.find_any(room, message)?;
        if found.message.is_removed() { Err(Error::NotFound(NotFound::Message)) } else { Ok(found) }
    }

    /// Finds a message in its current state, with the number and the time of its room's newest event.
    fn find_any(&self, room: RoomId, message: MessageId) -> Result<Changed, Error> {
        let row = self.rooms.iter().find(|row| row.id == room).ok_or(Error::NotFound(NotFound::Room))?;
        let events = &self.events[&room];
        let found = events.iter().filter_map(Event::message).find(|found| found.id == message);
        let message = self.present_message(found.ok_or(Error::NotFound(NotFound::Message))?);
        Ok(Changed { message, seq: row.seq, at: events.last().unwrap().at })
    }

    fn edit(&mut self, edit: &MessageEdit) -> Result<Changed, Error> {
        let found = self.find(edit.room_id, edit.message_id)?;
        if found.message.is_deleted() {
            return Err(Conflict::MessageDeleted.into());
        }
        if found.message.content == edit.content {
            return Ok(found);
        }
        if edit.if_version.is_some_and(|version| version < found.message.version()) {
            return Err(Conflict::VersionConflict.into());
        }
        let edited_by = (edit.by != found.message.author.id).then_some(edit.by);
        self.change(found, edit.by, edit.at, MessageChangeKind::Edited, |message, at| {
            message.content = edit.content.clone();
            let details = message.details_mut();
            (details.edited_at, details.edited_by) = (Some(at), edited_by);
        })
    }

    fn delete(&mut self, deletion: &MessageDeletion) -> Result<Changed, Error> {
        let MessageDeletion { room_id, message_id, hard, .. } = *deletion;
        let found = if hard { self.find_any(room_id, message_id)? } else { self.find(room_id, message_id)? };
        let is_done = if hard { found.message.is_removed() } else { found.message.is_deleted() };
        if is_done {
            return Ok(found);
        }
        self.change(found, deletion.by, deletion.at, MessageChangeKind::Deleted, |message, at| {
            message.content = Content::from_stored(String::new());
            let details = message.details_mut();
            (details.deleted_at, details.deleted_by) = (Some(at), Some(deletion.by));
            (details.pinned_at, details.pinned_by) = (None, None);
            if hard {
                (details.edited_at, details.edited_by, details.removed) = (None, None, true);
                message.client_message_id = None;
            }
        })
    }

    fn pin(&mut self, pin: &PinChange) -> Result<Changed, Error> {
        let Changed { mut message, seq: head, at } = self.find(pin.room_id, pin.message_id)?;
        if message.is_pinned() == pin.pinned {
            return Ok(Changed { message, seq: head, at });
        }
        if message.is_deleted() {
            return Err(Conflict::MessageDeleted.into());
        }
        let in_room = self.changed.values().filter(|changed| changed.room_id == pin.room_id && changed.is_pinned());
        if pin.pinned && in_room.count() as u64 >= pin.max {
            return Err(Conflict::TooManyPins.into());
        }
        let by = UserRef::from(self.user(pin.by).ok_or(Error::NotFound(NotFound::User))?);
        let details = message.details_mut();
        details.content_seq = head.next();
        (details.pinned_at, details.pinned_by) = pin.pinned.then_some((pin.at, pin.by)).unzip();
        self.changed.insert(message.id, message.clone());
        let how = if pin.pinned { MessageChangeKind::Pinned } else { MessageChangeKind::Unpinned };
        let shown = EventMessage::Shown(Box::new(message.clone()));
        let seq = self.add_event(pin.room_id, pin.at, |_| EventKind::MessageChanged { how, message: shown, by });
        Ok(Changed { message, seq, at: pin.at })
    }

    fn change(
        &mut self,
        found: Changed,
        by: UserId,
        at: Timestamp,
        how: MessageChangeKind,
        apply: impl FnOnce(&mut Message, Timestamp),
    ) -> Result<Changed, Error> {
        let Changed { mut message, seq: head, .. } = found;
        let by = UserRef::from(self.user(by).ok_or(Error::NotFound(NotFound::User))?);
        let details = message.details_mut();
        (details.content_seq, details.version) = (head.next(), details.version.next());
        let at = at.max(Timestamp::from_millis(message.updated_at.as_millis() + 1));
        apply(&mut message, at);
        message.updated_at = at;
        self.changed.insert(message.id, message.clone());
        let shown = EventMessage::Shown(Box::new(message.clone()));
        let seq = self.add_event(message.room_id, at, |_| EventKind::MessageChanged { how, message: shown, by });
        Ok(Changed { message, seq, at })
    }

    fn create_user(&mut self, new: &NewUser) -> Result<Done<TokenWithUser>, Error> {
        match self.earlier(new.idempotency, new.at)? {
            Some(Outcome::Token(value)) => return done(value, true),
            Some(_) => return Err(Conflict::IdempotencyKeyReused.into()),
            None => {}
        }
        if self.users.iter().any(|user| user.username == new.username) {
            return Err(Conflict::UsernameTaken.into());
        }
        let user = User {
            id: new.id,
            username: new.username.clone(),
            role: new.role,
            disabled: false,
            external_id: None,
            created_at: new.at,
            updated_at: new.at,
        };
        self.users.push(user.clone());
        self.tokens.push(new.token.clone());
        let value = TokenWithUser { token: new.token.clone(), user };
        self.keep(new.idempotency, Outcome::Token(value.clone()), new.at);
        done(value, false)
    }

    fn change_user(&mut self, change: &UserChange) -> Result<User, Error> {
        let before = self.user(change.user_id).cloned().ok_or(Error::NotFound(NotFound::User))?;
        let mut after = before.clone();
        after.username = change.username.clone().unwrap_or(after.username);
        after.role = change.role.unwrap_or(after.role);
        after.disabled = change.disabled.unwrap_or(after.disabled);
        if after == before {
            return Ok(before);
        }
        if self.users.iter().any(|user| user.username == after.username && user.id != after.id) {
            return Err(Conflict::UsernameTaken.into());
        }
        after.updated_at = change.at;
        *self.users.iter_mut().find(|user| user.id == after.id).unwrap() = after.clone();
        self.control.push(ControlChange::User(after.id));
        Ok(after)
    }

    fn create_room(&mut self, new: &NewRoom) -> Result<Done<Room>, Error> {
        match self.earlier(new.idempotency, new.at)? {
            Some(Outcome::Room(value)) => return done(value, true),
            Some(_) => return Err(Conflict::IdempotencyKeyReused.into()),
            None => {}
        }
        let owner = UserRef::from(self.user(new.owner).ok_or(Error::NotFound(NotFound::User))?);
        let by = UserRef::from(self.user(new.by).ok_or(Error::NotFound(NotFound::User))?);
        self.rooms.push(Room {
            id: new.id,
            name: new.name.clone(),
            owner: new.owner,
            created_at: new.at,
            updated_at: new.at,
            seq: Seq::ZERO,
            message_count: 0,
            member_count: 0,
        });
        self.members.insert(new.id, vec![new.owner]);
        self.add_event(new.id, new.at, |_| EventKind::MemberJoined { user: owner, by });
        let room = self.rooms.last().unwrap().clone();
        self.keep(new.idempotency, Outcome::Room(room.clone()), new.at);
        done(room, false)
    }

    fn change_member(&mut self, change: &MembershipChange, joins: bool) -> Result<Done<MembershipChanged>, Error> {
        match self.earlier(change.idempotency, change.at)? {
            Some(Outcome::Membership(value)) => return done(value, true),
            Some(_) => return Err(Conflict::IdempotencyKeyReused.into()),
            None => {}
        }
        let members = self.members.get(&change.room_id).ok_or(Error::NotFound(NotFound::Room))?;
        if joins && self.user(change.user_id).is_none() {
            return Err(Error::NotFound(NotFound::User));
        }
        let changed = if members.contains(&change.user_id) == joins {
            MembershipChanged::NotNeeded(self.rooms.iter().find(|room| room.id == change.room_id).unwrap().seq)
        } else {
            let by = UserRef::from(self.user(change.by).ok_or(Error::NotFound(NotFound::User))?);
            let user = UserRef::from(self.user(change.user_id).unwrap());
            let members = self.members.get_mut(&change.room_id).unwrap();
            members.retain(|member| *member != change.user_id);
            if joins {
                members.push(change.user_id);
            }
            MembershipChanged::At(self.add_event(change.room_id, change.at, |_| match joins {
                true => EventKind::MemberJoined { user, by },
                false => EventKind::MemberLeft { user, by },
            }))
        };
        // The number of the event is not stored in this case.
        let kept = if let MembershipChanged::At(_) = changed { changed } else { MembershipChanged::NotNeeded(Seq::ZERO) };
        self.keep(change.idempotency, Outcome::Membership(kept), change.at);
        done(changed, false)
    }

    fn create_token(&mut self, new: &NewToken) -> Result<Done<TokenWithUser>, Error> {
        match self.earlier(new.idempotency, new.token.created_at)? {
            Some(Outcome::Token(value)) => return done(value, true),
            Some(_) => return Err(Conflict::IdempotencyKeyReused.into()),
            None => {}
        }
        let user = self.user(new.token.user_id).cloned().ok_or(Error::NotFound(NotFound::User))?;
        if let Some(parent) = new.token.parent {
            let parent = self.tokens.iter().find(|token| token.id == parent).ok_or(TokenRefusal::Invalid)?;
            if parent.revoked_at.is_some() {
                return Err(TokenRefusal::Revoked.into());
            }
        }
        self.tokens.push(new.token.clone());
        let value = TokenWithUser { token: new.token.clone(), user };
        self.keep(new.idempotency, Outcome::Token(value.clone()), new.token.created_at);
        done(value, false)
    }

    fn revoke(&mut self, id: TokenId, at: Timestamp) -> Result<(), Error> {
        let first = self.tokens.iter().position(|token| token.id == id).ok_or(Error::NotFound(NotFound::Token))?;
        let mut generation = vec![first];
        while !generation.is_empty() {
            generation.retain(|index| self.tokens[*index].revoked_at.is_none());
            let mut next = Vec::new();
            for index in generation {
                self.tokens[index].revoked_at = Some(at);
                let id = self.tokens[index].id;
                self.control.push(ControlChange::Token(id));
                next.extend((0..self.tokens.len()).filter(|child| self.tokens[*child].parent == Some(id)));
            }
            next.sort_unstable();
            generation = next;
        }
        Ok(())
    }

    async fn compare(&self, node: &Node) {
        let store = &node.store;
        assert_eq!(all_pages(7, |page| store.users(page)).await, self.users);
        let tokens: Vec<_> = self.tokens.iter().rev().cloned().collect();
        assert_eq!(all_pages(7, |page| store.tokens(page)).await.into_iter().map(|row| row.token).collect::<Vec<_>>(), tokens);
        assert_eq!(all_pages(3, |page| store.rooms(RoomFilter::default(), page)).await, self.rooms);
        for room in &self.rooms {
            let members = all_pages(2, |page| page_of(store.members(room.id, Access::Any, page))).await;
            assert_eq!(members.iter().map(|user| user.id).collect::<Vec<_>>(), self.members[&room.id]);
            let events: Vec<_> = self.events[&room.id].iter().map(|event| self.present(event)).collect();
            let shown: Vec<_> = all_events(node, room.id).await.iter().map(|event| self.present(event)).collect();
            assert_eq!(shown, events);
            let history = store.history(room.id, Access::Any, HistoryRange::Newest, usize::MAX >> 1).await.unwrap();
            assert_eq!(history.messages, events.iter().filter_map(|event| event.message().cloned()).collect::<Vec<_>>());
            let removed = events.iter().filter(|event| matches!(event.kind, EventKind::MessageRemoved { .. })).count();
            assert_eq!((history.messages.len() + removed) as u64, room.message_count);
            let mut pinned = all_pages(2, |page| async move { Ok(store.pins(room.id, Access::Any, page).await?.page) }).await;
            pinned.sort_by_key(|message| message.seq);
            assert_eq!(pinned, history.messages.iter().filter(|message| message.is_pinned()).cloned().collect::<Vec<_>>());
        }
        let control = store.control_after(ControlPosition(0), 100_000).await.unwrap();
        assert_eq!(control.iter().map(|entry| entry.change).collect::<Vec<_>>(), self.control);
        assert_eq!(store.control_head().await.unwrap(), ControlPosition(self.control.len() as u64));
        // The sink got the same events, with the names of that time.
        for room in &self.rooms {
            let told: Vec<_> = node.sink.events().into_iter().filter(|event| event.room_id == room.id).collect();
            assert_eq!(told.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), self.events[&room.id]);
        }
    }
}

/// Generates random writes from few names, rooms and keys, so that they often conflict.
struct Random {
    rng: StdRng,
    now: i64,
}

impl Random {
    fn at(&mut self) -> Timestamp {
        self.now += self.rng.random_range(1..200);
        Timestamp::from_millis(self.now)
    }

    fn key(&mut self) -> Option<Idempotency> {
        self.rng.random_ratio(1, 3).then(|| idempotency(self.rng.random_range(0..12), self.rng.random_range(0..2)))
    }

    fn user(&mut self, model: &Model) -> UserId {
        let unknown = UserId::from_bytes([9; 16]);
        let known = model.users.choose(&mut self.rng).map_or(unknown, |user| user.id);
        if self.rng.random_ratio(1, 20) { unknown } else { known }
    }

    fn room(&mut self, model: &Model) -> RoomId {
        let unknown = RoomId::from_bytes([9; 16]);
        let known = model.rooms.choose(&mut self.rng).map_or(unknown, |room| room.id);
        if self.rng.random_ratio(1, 20) { unknown } else { known }
    }

    fn token(&mut self, model: &Model) -> TokenId {
        let unknown = TokenId::from_bytes([9; 16]);
        let known = model.tokens.choose(&mut self.rng).map_or(unknown, |token| token.id);
        if self.rng.random_ratio(1, 20) { unknown } else { known }
    }

    fn new_token(&mut self, user: UserId, parent: Option<TokenId>) -> Token {
        let created_at = Timestamp::from_millis(self.at().as_millis() / 1000 * 1000);
        Token {
            id: TokenId::from_bytes(self.rng.random()),
            token_type: TokenType::User,
            user_id: user,
            permissions: Permissions { rooms: self.rng.random_bool(0.5).then(Vec::new), ..Permissions::ALL },
            parent,
            email: None,
            created_at,
            expires_at: created_at.after(Duration::from_secs(60)),
            revoked_at: None,
        }
    }

    fn message(&mut self, model: &Model) -> NewMessage {
        let author = self.user(model);
        NewMessage {
            id: MessageId::from_bytes(self.rng.random()),
            room_id: self.room(model),
            author,
            access: if self.rng.random_ratio(1, 3) { Access::Any } else { Access::Member(author) },
            actor: Actor::Operator,
            content: content(["hello", "world", "🌍"].choose(&mut self.rng).unwrap()),
            client_message_id: self.rng.random_bool(0.5).then(|| client_id(&self.rng.random_range(0..8).to_string())),
            idempotency: self.key(),
            at: self.at(),
        }
    }
}

impl Random {
    /// Chooses one of a few messages, so that several changes meet one message.
    fn message_to_change(&mut self, model: &Model) -> (RoomId, MessageId) {
        let room = self.room(model);
        let messages = model.events.get(&room).into_iter().flatten().filter_map(Event::message).take(5);
        let known = messages.map(|message| message.id).collect::<Vec<_>>().choose(&mut self.rng).copied();
        (room, known.unwrap_or(MessageId::from_bytes([9; 16])))
    }

    fn edit(&mut self, model: &Model) -> MessageEdit {
        let (room_id, message_id) = self.message_to_change(model);
        MessageEdit {
            room_id,
            message_id,
            content: content(["hello", "world", "edited"].choose(&mut self.rng).unwrap()),
            if_version: self.rng.random_ratio(1, 4).then(|| Version::new(self.rng.random_range(1..5))),
            max_versions: 50,
            by: self.user(model),
            actor: Actor::Operator,
            at: self.at(),
        }
    }

    fn pin(&mut self, model: &Model) -> PinChange {
        let (room_id, message_id) = self.message_to_change(model);
        let (by, pinned, at) = (self.user(model), self.rng.random_bool(0.6), self.at());
        PinChange { room_id, message_id, pinned, max: 3, by, actor: Actor::Operator, at }
    }

    fn deletion(&mut self, model: &Model) -> MessageDeletion {
        let (room_id, message_id) = self.message_to_change(model);
        MessageDeletion {
            room_id,
            message_id,
            hard: self.rng.random_ratio(1, 3),
            by: self.user(model),
            actor: Actor::Operator,
            at: self.at(),
        }
    }
}

async fn step(random: &mut Random, model: &mut Model, node: &Node) {
    let store = &node.store;
    match random.rng.random_range(0..25) {
        0 | 1 => {
            let id = UserId::from_bytes(random.rng.random());
            let token = random.new_token(id, None);
            let username = name(&format!("user {}", random.rng.random_range(0..15)));
            let new = NewUser {
                id,
                username,
                role: Role::Member,
                token,
                actor: Actor::Operator,
                idempotency: random.key(),
                at: random.at(),
            };
            assert_eq!(store.submit(new.clone()).await, model.create_user(&new));
        }
        2 | 3 => {
            let change = UserChange {
                user_id: random.user(model),
                username: random.rng.random_bool(0.5).then(|| name(&format!("user {}", random.rng.random_range(0..15)))),
                role: [None, Some(Role::Member), Some(Role::Admin)].choose(&mut random.rng).copied().flatten(),
                disabled: [None, Some(true), Some(false)].choose(&mut random.rng).copied().flatten(),
                actor: Actor::Operator,
                at: random.at(),
            };
            assert_eq!(store.submit(change.clone()).await, model.change_user(&change));
        }
        4 => {
            let new = NewRoom {
                id: RoomId::from_bytes(random.rng.random()),
                name: RoomName::from_stored("room".to_owned()),
                owner: random.user(model),
                by: random.user(model),
                actor: Actor::Operator,
                idempotency: random.key(),
                at: random.at(),
            };
            assert_eq!(store.submit(new.clone()).await, model.create_room(&new));
        }
        kind @ 5..=9 => {
            let change = MembershipChange {
                room_id: random.room(model),
                user_id: random.user(model),
                by: random.user(model),
                actor: Actor::Operator,
                idempotency: random.key(),
                at: random.at(),
            };
            let answer = match kind {
                5..=7 => store.submit(NewMember(change.clone())).await,
                _ => store.submit(MemberRemoval(change.clone())).await,
            };
            assert_eq!(answer, model.change_member(&change, kind <= 7));
        }
        10 | 11 => {
            let parent = random.rng.random_bool(0.7).then(|| random.token(model));
            let user = random.user(model);
            let new = NewToken { token: random.new_token(user, parent), actor: Actor::Operator, idempotency: random.key() };
            assert_eq!(store.submit(new.clone()).await, model.create_token(&new));
        }
        13 | 14 => {
            // Several edits share a batch.
            let edits: Vec<_> = (0..random.rng.random_range(1..10)).map(|_| random.edit(model)).collect();
            let pending: Vec<_> = edits.iter().map(|edit| store.submit(edit.clone())).collect();
            for (edit, pending) in edits.iter().zip(pending) {
                assert_eq!(pending.await, model.edit(edit), "{edit:?}");
            }
        }
        23 | 24 => {
            let pins: Vec<_> = (0..random.rng.random_range(1..10)).map(|_| random.pin(model)).collect();
            let pending: Vec<_> = pins.iter().map(|pin| store.submit(pin.clone())).collect();
            for (pin, pending) in pins.iter().zip(pending) {
                assert_eq!(pending.await, model.pin(pin), "{pin:?}");
            }
        }
        22 => {
            let deletion = random.deletion(model);
            assert_eq!(store.submit(deletion.clone()).await, model.delete(&deletion), "{deletion:?}");
        }
        12 => {
            let (token, at) = (random.token(model), random.at());
            assert_eq!(store.submit(revocation(token, at)).await, model.revoke(token, at));
        }
        _ => {
            // They are submitted together, so that they share batches.
            let messages: Vec<_> = (0..random.rng.random_range(1..30)).map(|_| random.message(model)).collect();
            let pending: Vec<_> = messages.iter().map(|new| store.submit(new.clone())).collect();
            for (new, pending) in messages.iter().zip(pending) {
                assert_eq!(pending.await, model.append(new), "{new:?}");
            }
        }
    }
}

async fn random_writes_do_what_the_model_does(fixture: Arc<Fixture>) {
    let seed = std::env::var("CHATSPHERE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CHATSPHERE_TEST_SEED={seed}");
    let node = fixture.node().await;
    let mut model = Model::default();
    let mut random = Random { rng: StdRng::seed_from_u64(seed), now: 1_800_000_000_000 };
    for round in 0..600 {
        // Time passes only between batches, because the messages of a batch were accepted within seconds.
        if random.rng.random_ratio(1, 20) {
            random.now += Duration::from_secs(13 * 60 * 60).as_millis() as i64;
        }
        step(&mut random, &mut model, &node).await;
        if round % 100 == 99 {
            model.compare(&node).await;
        }
    }
}
