//! The record of a run as plain data: the only input of the judge.

use std::hash::{DefaultHasher, Hash, Hasher};

use chatsphere_client::bodies;
use chatsphere_client::{EventKind, MessageId, NotRecovered, RoomId, UserId};

/// The order of observations over all clients: a smaller tick was observed earlier.
pub(crate) type Tick = u64;

/// The record of a run.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// By index.
    pub(crate) users: Vec<UserId>,
    /// By index.
    pub(crate) rooms: Vec<RoomRecord>,
    /// By index.
    pub(crate) devices: Vec<DeviceRecord>,
    /// The changes of each room, in the order in which they were made.
    pub(crate) changes: Vec<Change>,
}

/// A room's final state over REST.
#[derive(Debug, Clone)]
pub(crate) struct RoomRecord {
    pub(crate) id: RoomId,
    /// From the pages of events.
    pub(crate) events: Vec<Event>,
    /// From the pages of messages.
    pub(crate) messages: Vec<Event>,
    /// The newest `seq` reported by the room.
    pub(crate) told_seq: u64,
    /// The number of messages reported by the room.
    pub(crate) told_messages: Option<u64>,
}

/// A membership that was added or removed by a call that finally succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) room: usize,
    pub(crate) user: usize,
    pub(crate) adds: bool,
    /// Before the first call.
    pub(crate) began: Tick,
    /// After the successful call.
    pub(crate) returned: Tick,
}

/// One client and its observations, in order.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRecord {
    pub(crate) user: usize,
    pub(crate) seen: Vec<Seen>,
    /// The rooms that it must have followed to the end.
    pub(crate) to_the_end: Vec<usize>,
}

/// An action or observation of a client.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Tick,
    /// The number of the client's connection.
    pub(crate) connection: u32,
    pub(crate) what: What,
}

/// The kind of an observation.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Connected {
        replay_events: u64,
    },
    /// `overslept`: the client had not read for a while, and the server had closed the connection.
    Ended {
        code: Option<u16>,
        overslept: bool,
    },
    Joined(Joined),
    JoinRefused {
        room: usize,
        asked: Tick,
        code: String,
    },
    /// The server has processed all frames that this connection sent up to `upto`.
    Settled {
        upto: Tick,
    },
    Page(Page),
    Event {
        room: usize,
        event: Event,
    },
    Left {
        room: usize,
        reason: String,
    },
    /// `leave` was confirmed.
    LeftByItself {
        room: usize,
    },
    Sent {
        over: Over,
        room: usize,
        key: String,
        text: Text,
    },
    Acked {
        room: usize,
        key: String,
        id: MessageId,
        seq: u64,
    },
    /// Permanently rejected.
    Refused {
        room: usize,
        key: String,
        code: String,
    },
    EditSent {
        room: usize,
        id: MessageId,
        text: Text,
    },
    /// An edit was acknowledged: the message is in this state, or in a later one.
    Edited {
        room: usize,
        id: MessageId,
        state: State,
    },
    EditRefused {
        room: usize,
        code: String,
    },
    /// An unexpected frame.
    Strange {
        text: String,
    },
}

/// How a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Socket,
    Rest,
}

/// The confirmation of a `join`.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) room: usize,
    pub(crate) since: u64,
    pub(crate) asked: Tick,
    pub(crate) seq: u64,
    pub(crate) recovered: bool,
    pub(crate) reason: Option<NotRecovered>,
}

/// A page of a replay.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) room: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) more: bool,
    pub(crate) messages: Vec<Event>,
    pub(crate) others: Vec<Event>,
}

/// A durable event. Equal only if all fields visible to a client are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
}

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Message {
        id: MessageId,
        author: UserId,
        key: Option<String>,
        state: State,
        at: String,
    },
    /// `state` is `None` if the page shows a later one.
    Edited {
        id: MessageId,
        state: Option<State>,
    },
    Joined {
        user: UserId,
    },
    Left {
        user: UserId,
    },
    Other,
}

/// The content of a message after its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The event of the last change.
    pub(crate) seq: u64,
    pub(crate) text: Text,
}

impl State {
    pub(crate) fn of(message: &bodies::Message<'_>) -> Self {
        Self { seq: message.change_seq.unwrap_or(message.seq).get(), text: Text::of(&message.content) }
    }
}

impl Event {
    /// The message of the event and its state.
    pub(crate) fn shown(&self) -> Option<(MessageId, State)> {
        match &self.kind {
            Kind::Message { id, state, .. } => Some((*id, *state)),
            Kind::Edited { id, state } => state.map(|state| (*id, state)),
            Kind::Joined { .. } | Kind::Left { .. } | Kind::Other => None,
        }
    }

    /// Whether it is the same event, ignoring the state of its message.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let without_state = |event: &Self| {
            let mut event = event.clone();
            match &mut event.kind {
                Kind::Message { state, .. } => *state = State { seq: 0, text: Text::of("") },
                Kind::Edited { state, .. } => *state = None,
                Kind::Joined { .. } | Kind::Left { .. } | Kind::Other => {}
            }
            event
        };
        without_state(self) == without_state(other)
    }
}

/// A fingerprint of a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Text {
    hash: u64,
    bytes: usize,
}

impl Text {
    pub(crate) fn of(content: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self { hash: hasher.finish(), bytes: content.len() }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes #{:08x}", self.bytes, self.hash & 0xffff_ffff)
    }
}

impl From<&bodies::Message<'_>> for Event {
    fn from(message: &bodies::Message<'_>) -> Self {
        Self {
            seq: message.seq.get(),
            kind: Kind::Message {
                id: message.id,
                author: message.user_id,
                key: message.client_message_id.as_deref().map(str::to_owned),
                state: State::of(message),
                at: message.created_at.to_string(),
            },
        }
    }
}

impl From<&chatsphere_client::Event> for Event {
    fn from(event: &chatsphere_client::Event) -> Self {
        let kind = match &event.kind {
            EventKind::NewMessage { message } => return Self { seq: event.seq.get(), ..Self::from(message) },
            EventKind::MemberJoined { user, .. } => Kind::Joined { user: user.id },
            EventKind::MemberLeft { user, .. } => Kind::Left { user: user.id },
            EventKind::MessageEdited { about, .. } => {
                Kind::Edited { id: about.message_id, state: about.message.as_ref().map(State::of) }
            }
            _ => Kind::Other,
        };
        Self { seq: event.seq.get(), kind }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Message { id, author, key, state, at } => {
                let key = key.as_deref().unwrap_or("-");
                write!(f, "{}: message {key} ({id}) by {author}, {} as of {}, at {at}", self.seq, state.text, state.seq)
            }
            Kind::Edited { id, state: Some(state) } => {
                write!(f, "{}: an edit of {id}: {} as of {}", self.seq, state.text, state.seq)
            }
            Kind::Edited { id, state: None } => write!(f, "{}: an edit of {id}", self.seq),
            Kind::Joined { user } => write!(f, "{}: {user} joined", self.seq),
            Kind::Left { user } => write!(f, "{}: {user} left", self.seq),
            Kind::Other => write!(f, "{}: an unknown event", self.seq),
        }
    }
}
