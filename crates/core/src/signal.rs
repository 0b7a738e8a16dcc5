//! Signals: ephemeral notifications to open connections, such as typing. They are not stored and have no number. They are
//! dropped first under pressure.
//!
//! How each kind is merged, limited and addressed is defined here; delivery and NATS do not depend on kinds.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, InvalidField, RateLimited};
use crate::ids::{ConnectionId, MessageId, RoomId, UserId};
use crate::model::UserRef;
use crate::rate::Rate;
use crate::seq::Seq;
use crate::time::Monotonic;

/// The connections that receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Every connection that has joined the room, except those that [`Signal::except`] names.
    Room(RoomId),
    /// Every connection of this user.
    User(UserId),
}

/// How long a user counts as typing after a signal.
pub const TYPING_EXPIRES: Duration = Duration::from_secs(6);

/// Signals of each kind that a user may cause in a second.
pub const SIGNALS_PER_SECOND: u32 = 10;
/// The shortest interval in which a repeated signal is sent again. Clients repeat it every 3 s; the difference allows for
/// jitter of the network.
const REPEATED: Duration = Duration::from_millis(2_500);

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The topic, whose connections receive the signal.
    pub topic: Topic,
    /// The user who caused the signal.
    pub user: UserRef,
    /// The connection that sent the signal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ConnectionId>,
    /// The room's newest event in the snapshot in which the rights were checked. A node delivers the signal once the room's
    /// subscribers have all events up to this one. So a member who was removed by then does not receive it on any node.
    pub after: Seq,
    /// The content.
    pub kind: SignalKind,
}

/// The kinds of signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SignalKind {
    /// A user types in a room, or has stopped typing.
    Typing {
        /// The room.
        room_id: RoomId,
        /// The message in whose thread the user types.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_id: Option<MessageId>,
        /// Whether the user types or has stopped.
        on: bool,
    },
    /// A signal that the application defines.
    Custom {
        /// The room.
        room_id: RoomId,
        /// What it is.
        name: SignalName,
        /// Its content.
        data: SignalData,
    },
    /// A kind that a newer release sent. It is dropped.
    #[serde(other)]
    Unknown,
}

/// The name of an application's signal: 1 to 32 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignalName(String);

/// The content of an application's signal: a JSON value of at most 1 KiB and 16 levels, in the text in which it was sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignalData(Arc<str>);

/// Longest name, in characters.
const NAME_CHARS: usize = 32;
/// Longest content, in bytes of JSON.
const DATA_BYTES: usize = 1_024;
/// Deepest nesting of arrays and objects.
const DATA_DEPTH: usize = 16;

impl SignalName {
    /// Validates a name from a client.
    pub fn parse(text: String) -> Result<Self, InvalidField> {
        if text.is_empty() || text.chars().take(NAME_CHARS + 1).count() > NAME_CHARS {
            return Err(InvalidField::new("name", format!("must have 1 to {NAME_CHARS} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidField::new("name", "must not contain control characters"));
        }
        Ok(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SignalData {
    /// Validates JSON from a client. It is refused if usual JSON libraries can't read it, because they would reject the frame.
    pub fn parse(json: &str) -> Result<Self, InvalidField> {
        if json.len() > DATA_BYTES {
            let message = format!("must be at most {DATA_BYTES} bytes of JSON; this has {}", json.len());
            return Err(InvalidField::new("data", message));
        }
        match serde_json::from_str(json) {
            Ok(value) if depth(&value) <= DATA_DEPTH => Ok(Self(json.into())),
            _ => {
                let message = format!(
                    "must be JSON of at most {DATA_DEPTH} levels, without halves of surrogate pairs and numbers above 1e308"
                );
                Err(InvalidField::new("data", message))
            }
        }
    }

    /// Returns the JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignalData {
    /// Shows only the length, so that contents are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalData({} bytes)", self.0.len())
    }
}

/// How deep arrays and objects are nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The connections of a topic that do not receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Except {
    /// All connections receive it.
    Nobody,
    /// The connections of this user.
    User(UserId),
    /// This connection.
    Connection(ConnectionId),
}

impl Signal {
    /// The connections of the topic that do not receive the signal.
    pub fn except(&self) -> Except {
        match self.kind {
            SignalKind::Typing { .. } => Except::User(self.user.id),
            SignalKind::Custom { .. } | SignalKind::Unknown => self.from.map_or(Except::Nobody, Except::Connection),
        }
    }
}

impl SignalKind {
    /// The room that the signal is for.
    pub fn room_id(&self) -> Option<RoomId> {
        match self {
            Self::Typing { room_id, .. } | Self::Custom { room_id, .. } => Some(*room_id),
            Self::Unknown => None,
        }
    }

    /// Whether a newer signal of the same topic and user replaces an older one that was not delivered yet.
    pub fn is_merged(&self) -> bool {
        match self {
            Self::Typing { .. } | Self::Unknown => true,
            Self::Custom { .. } => false,
        }
    }
}

/// The rate limits of signals.
pub struct SignalRate {
    /// Each kind counts separately.
    each: Rate<(UserId, Discriminant<SignalKind>)>,
    begun: Rate<(UserId, Topic)>,
    ended: Rate<(UserId, Topic)>,
}

impl Default for SignalRate {
    fn default() -> Self {
        Self {
            each: Rate::new(SIGNALS_PER_SECOND, SIGNALS_PER_SECOND).counted("signal"),
            begun: Rate::every(REPEATED, 1),
            // The burst of 2 lets a user stop, resume and stop again within the interval.
            ended: Rate::every(REPEATED, 2),
        }
    }
}

impl SignalRate {
    /// Counts a signal against its user.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn count(&self, user: UserId, kind: &SignalKind, now: Monotonic) -> Result<(), Error> {
        self.each.take((user, discriminant(kind)), now).map_err(|wait| Error::RateLimited(RateLimited::Signals, wait))
    }

    /// Whether the user has sent the same beginning or end to this topic within 2.5 s. A repeated signal is not sent.
    pub(crate) fn is_repeated(&self, user: UserId, topic: Topic, kind: &SignalKind, now: Monotonic) -> bool {
        let rate = match kind {
            SignalKind::Typing { on: true, .. } => &self.begun,
            SignalKind::Typing { on: false, .. } => &self.ended,
            SignalKind::Custom { .. } | SignalKind::Unknown => return false,
        };
        rate.take((user, topic), now).is_err()
    }
}

/// Delivers signals to the connections of this node and to other nodes.
pub trait SignalSink: Send + Sync + 'static {
    /// Queues a signal, or drops it if the queue is full. Never blocks.
    fn signal(&self, signal: Signal);
}

/// A sink that drops every signal, for a process without connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSignals;

impl SignalSink for NoSignals {
    fn signal(&self, _signal: Signal) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_name_has_1_to_32_characters() {
        for good in ["a", "call.ring", " ", "日本", &"é".repeat(32)] {
            assert!(SignalName::parse(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "\0", "\u{85}", &"é".repeat(33)] {
            assert_eq!(SignalName::parse(bad.to_owned()).unwrap_err().field, "name", "{bad:?}");
        }
    }

    #[test]
    fn data_is_kept_as_it_was_written() {
        let levels = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
        let longest = format!("\"{}\"", "x".repeat(1_022));
        for good in ["null", "1.00000000000000000000000000001", " {\"a\":1, \"a\":1e2}", "\"\\u0000\"", &levels(16), &longest] {
            assert_eq!(SignalData::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "{", "1 2", "1e400", "\"\\ud83d\"", "{\"\\ud83d\":1}", &levels(17), &levels(512), &format!("{longest} ")]
        {
            assert_eq!(SignalData::parse(bad).unwrap_err().field, "data", "{bad}");
        }
    }

    #[test]
    fn a_signal_passes_the_bus_with_all_its_digits() {
        let at = Timestamp::from_millis(1);
        let data = "{\"n\": 12345678901234567890.12345678901234567890}";
        let kind = SignalKind::Custom {
            room_id: RoomId::new(at),
            name: SignalName::parse("move".to_owned()).unwrap(),
            data: SignalData::parse(data).unwrap(),
        };
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(serde_json::from_str::<SignalKind>(&json).unwrap(), kind);
        assert!(!format!("{kind:?}").contains("123"));
        // A node of an older release drops the signal, and reads others beside it.
        let newer = json.replace("custom", "newest");
        assert_eq!(serde_json::from_str::<SignalKind>(&newer).unwrap(), SignalKind::Unknown);
    }

    #[test]
    fn each_kind_has_a_rate_of_its_own() {
        let (rate, user, now) =
            (SignalRate::default(), UserId::new(Timestamp::from_millis(1)), Monotonic::from_start(Duration::ZERO));
        let room_id = RoomId::new(Timestamp::from_millis(1));
        let (name, data) = (SignalName::parse("x".to_owned()).unwrap(), SignalData::parse("1").unwrap());
        for kind in [SignalKind::Typing { room_id, parent_id: None, on: true }, SignalKind::Custom { room_id, name, data }] {
            for _ in 0..SIGNALS_PER_SECOND {
                rate.count(user, &kind, now).unwrap();
            }
            assert!(rate.count(user, &kind, now).is_err());
        }
    }
}
