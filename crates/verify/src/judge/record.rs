//! What was observed in a run, as plain data: all that the judging looks at.

use std::hash::{DefaultHasher, Hash, Hasher};

use chatsphere_client::bodies;
use chatsphere_client::{EventKind, MessageId, NotRecovered, RoomId, UserId};

/// The order of observations over all clients: what has the smaller tick was observed earlier.
pub(crate) type Tick = u64;

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// By their number.
    pub(crate) users: Vec<UserId>,
    /// By their number.
    pub(crate) rooms: Vec<RoomRecord>,
    /// By their number.
    pub(crate) devices: Vec<DeviceRecord>,
    /// The changes of each room in the order in which they were made.
    pub(crate) changes: Vec<Change>,
}

/// A room as REST tells it at the end.
#[derive(Debug, Clone)]
pub(crate) struct RoomRecord {
    pub(crate) id: RoomId,
    /// From its pages of events.
    pub(crate) events: Vec<Event>,
    /// From its pages of messages.
    pub(crate) messages: Vec<Event>,
    /// The newest event, as the room itself says.
    pub(crate) told_seq: u64,
    /// Its messages, as the room itself counts them.
    pub(crate) told_messages: Option<u64>,
}

/// A membership that was begun or ended, by a call that succeeded in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) room: usize,
    pub(crate) user: usize,
    pub(crate) adds: bool,
    /// Before the first call.
    pub(crate) began: Tick,
    /// After the call that succeeded.
    pub(crate) returned: Tick,
}

/// One client and what it did and saw, in order.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRecord {
    pub(crate) user: usize,
    pub(crate) seen: Vec<Seen>,
    /// The rooms that it must have seen to their end.
    pub(crate) to_the_end: Vec<usize>,
}

/// Something that a client did or saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Tick,
    /// Counts the client's connections.
    pub(crate) connection: u32,
    pub(crate) what: What,
}

/// What it was.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Connected {
        replay_events: u64,
    },
    /// `overslept`: the client had read nothing for a while, and the server had not waited for it.
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
    /// The server has dealt with everything that this connection had sent up to `upto`.
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
    /// `leave` was answered.
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
    /// Refused for good.
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
    /// An edit was answered: the message is in this state now, or in a later one.
    Edited {
        room: usize,
        id: MessageId,
        state: State,
    },
    EditRefused {
        room: usize,
        code: String,
    },
    /// A frame that has no place here.
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

/// An answer to `join`.
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

/// A durable event. Equal only if nothing that a client can see is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Message {
        id: MessageId,
        author: UserId,
        key: Option<String>,
        state: State,
        at: String,
    },
    /// Without the state where the page shows a later one.
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

/// What a message said after its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The event that changed it last.
    pub(crate) seq: u64,
    pub(crate) text: Text,
}

impl State {
    pub(crate) fn of(message: &bodies::Message<'_>) -> Self {
        Self { seq: message.change_seq.unwrap_or(message.seq).get(), text: Text::of(&message.content) }
    }
}

impl Event {
    /// The message that it shows, and in which state.
    pub(crate) fn shown(&self) -> Option<(MessageId, State)> {
        match &self.kind {
            Kind::Message { id, state, .. } => Some((*id, *state)),
            Kind::Edited { id, state } => state.map(|state| (*id, state)),
            Kind::Joined { .. } | Kind::Left { .. } | Kind::Other => None,
        }
    }

    /// Whether it is the same event, whatever the state in which it shows a message.
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

/// Stands for a message's content.
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
