//! The operations that a database offers within a transaction. Each adapter implements one trait a file; the
//! [rules](super::rules) that use them exist once.
//!
//! `pk` is a row's integer key. It never leaves the store.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use chatsphere_core::store::{NewMessage, RoomRelation};
use chatsphere_core::{
    ClientMessageId, ControlChange, EventKind, ExternalId, Message, MessageId, NameKeys, Room, RoomId, Seq, Timestamp, Token,
    TokenId, TokenState, User, UserId, UserRef,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::failure::Failure;
use super::rules::outcome::{FoundRecord, IdempotencyRecord};

/// A map by ids of rows that exist. Each message of a batch looks into several such maps; this hash takes a quarter of the
/// standard library's time. Keys that clients choose must use the standard library's hash.
pub(crate) type IdMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
/// The same for sets.
pub(crate) type IdSet<K> = HashSet<K, foldhash::fast::RandomState>;

/// A future that is a step of a transaction.
pub(crate) trait Step<T>: Future<Output = Result<T, Failure>> + Send {}
impl<T, F: Future<Output = Result<T, Failure>> + Send> Step<T> for F {}

/// A database's writing side.
pub(crate) trait WriteDatabase:
    Transactions + Messages + Users + Rooms + Tokens + Idempotencies + ControlLog + Usage
{
}
impl<D: Transactions + Messages + Users + Rooms + Tokens + Idempotencies + ControlLog + Usage> WriteDatabase for D {}

pub(crate) trait Transactions: Send {
    /// Begins a transaction, and first connects again if needed. Until it ends, no other writer can add events to `rooms`
    /// (sorted, each once), or revoke rights of tokens and users. A transaction that revokes rights itself needs
    /// `takes_rights`: it then waits until no other writer has a transaction, and runs alone. Facts that are read later hold
    /// until the end. `since` is the submission time of its oldest write.
    fn begin(&mut self, rooms: &[RoomId], takes_rights: bool, since: Instant) -> impl Step<()>;
    /// Makes the transaction durable.
    fn commit(&mut self) -> impl Step<()>;
    /// Rolls back what [`Transactions::begin`] began, unless that is already done.
    fn rollback(&mut self) -> impl Future<Output = ()> + Send;
    /// Frees disk space for transactions that must succeed; with `full` also the reserve for them. Returns whether there is
    /// some space now.
    fn relieve(&mut self, full: bool) -> impl Future<Output = bool> + Send;
}

/// The facts about a run of messages, by which it is decided.
#[derive(Debug, Default)]
pub(crate) struct AppendFacts {
    /// The rooms that exist.
    pub(crate) rooms: IdMap<RoomId, RoomHead>,
    /// The authors that exist.
    pub(crate) authors: IdMap<UserId, Author>,
    /// Those of the actors' tokens that exist.
    pub(crate) tokens: IdMap<TokenId, TokenState>,
    /// The users that exist, of those as whom CLIENT tokens act.
    pub(crate) acting: IdMap<UserId, User>,
    /// The memberships that exist, of those that were looked up.
    pub(crate) members: IdSet<(RoomId, UserId)>,
    /// Stored messages that have a `clientMessageId` of the run.
    pub(crate) sent: HashMap<(RoomId, UserId, ClientMessageId), Sent>,
    /// The known `Idempotency-Key`s, expired or not.
    pub(crate) records: HashMap<[u8; 32], FoundRecord>,
    /// The messages that these records reference.
    pub(crate) answered: HashMap<(RoomId, Seq), Message>,
}

/// A message that was sent before with the same `clientMessageId`.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The message in its current state.
    pub(crate) message: Message,
    /// Its first content; empty if it was erased.
    pub(crate) first: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomHead {
    pub(crate) pk: i64,
    pub(crate) seq: Seq,
    /// Whether the room has messages that were deleted for good.
    pub(crate) has_removed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) pk: i64,
    pub(crate) user: UserRef,
}

/// A message to insert.
#[derive(Debug)]
pub(crate) struct MessageRow {
    pub(crate) room_pk: i64,
    pub(crate) author_pk: i64,
    pub(crate) message: Message,
}

/// The change of a room's row by a run of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomAdvance {
    pub(crate) pk: i64,
    /// The number of the newest event.
    pub(crate) seq: Seq,
    /// The number of new messages.
    pub(crate) messages: i64,
}

/// A new state of a message.
#[derive(Debug)]
pub(crate) struct MessageUpdate<'a> {
    pub(crate) pk: i64,
    /// The message in that state.
    pub(crate) message: &'a Message,
    /// The user who made the change.
    pub(crate) by_pk: i64,
}

pub(crate) trait Messages {
    /// Returns the facts about messages. `acting` are the users as whom CLIENT tokens act.
    fn append_facts(&mut self, messages: &[&NewMessage], acting: IdMap<UserId, User>) -> impl Step<AppendFacts>;
    fn insert_messages(&mut self, rows: &[MessageRow], rooms: &[RoomAdvance]) -> impl Step<()>;
    /// Returns a message of a room, in its current state. It may have been deleted for good.
    fn find_message(&mut self, room: RoomId, id: MessageId) -> impl Step<Option<Keyed<Message>>>;
    /// Appends a content to a message, which becomes the current one.
    fn append_text(&mut self, update: &MessageUpdate<'_>) -> impl Step<()>;
    /// Deletes a message of a room: erases all its texts, unpins it, and moves it to the lane of messages that do not count.
    fn delete_message(&mut self, room_pk: i64, update: &MessageUpdate<'_>) -> impl Step<()>;
    /// Deletes a message of a room for good, after [`Messages::delete_message`]: moves it to the lane of messages that no read
    /// shows, and adds an event at its place. Of its `clientMessageId` a hash is kept.
    fn remove_message(
        &mut self,
        room_pk: i64,
        update: &MessageUpdate<'_>,
        client_id: Option<&ClientMessageId>,
    ) -> impl Step<()>;
    /// Stores whether a message is pinned, as its details say.
    fn set_pin(&mut self, room_pk: i64, update: &MessageUpdate<'_>) -> impl Step<()>;
    /// Returns how many messages of a room are pinned.
    fn count_pins(&mut self, room_pk: i64) -> impl Step<u64>;
    /// Erases all contents of a message except the current one.
    fn forget_texts(&mut self, message_pk: i64) -> impl Step<()>;
    /// Drops the versions of a message up to this one: erases their contents, and no longer lists them.
    fn drop_texts(&mut self, message_pk: i64, up_to: u32) -> impl Step<()>;
    /// Returns when a room's event was accepted.
    fn event_time(&mut self, room_pk: i64, seq: Seq) -> impl Step<Option<Timestamp>>;
}

/// A value with the key of its row.
#[derive(Debug, Clone)]
pub(crate) struct Keyed<T> {
    pub(crate) pk: i64,
    pub(crate) value: T,
}

pub(crate) trait Users {
    fn find_user(&mut self, id: UserId) -> impl Step<Option<Keyed<User>>>;
    /// The same, and locks the user against changes by other writers.
    fn find_user_to_change(&mut self, id: UserId) -> impl Step<Option<Keyed<User>>>;
    /// The same by the application's own id.
    fn find_external_user_to_change(&mut self, id: &ExternalId) -> impl Step<Option<Keyed<User>>>;
    /// Makes every other writer that claims one of these wait until the transaction ends. Later reads see what earlier holders
    /// have written.
    fn claim(&mut self, claims: &[Claim<'_>]) -> impl Step<()>;
    /// Computes the keys of at most `limit` names that were stored before names had keys. Returns how many.
    fn key_names(&mut self, limit: usize) -> impl Step<usize>;
    /// Whether a user other than `except` has a name with this key.
    fn is_name_taken(&mut self, keys: &NameKeys, except: Option<i64>) -> impl Step<bool>;
    /// Whether a user that `wanted` selects has a name that looks the same.
    fn has_lookalike(&mut self, keys: &NameKeys, wanted: &Lookalikes) -> impl Step<bool>;
    /// Returns the new row's key.
    fn insert_user(&mut self, user: &User) -> impl Step<i64>;
    fn update_user(&mut self, pk: i64, user: &User) -> impl Step<()>;
}

/// A value that must be unique among users, and that two writers could assign at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim<'a> {
    NameKey(&'a str),
    NameLook(&'a str),
    External(&'a ExternalId),
}

/// Selects the users whose names are compared by look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookalikes {
    /// The user who has the name, and is not compared.
    pub(crate) except: Option<i64>,
    /// Whether to compare with the names of all users that are not disabled, in addition to those of users with rights over
    /// others (ADMIN, MODERATOR, or with a CLIENT token).
    pub(crate) ordinary: bool,
    /// The time at which a CLIENT token must be valid.
    pub(crate) now: Timestamp,
}

impl Claim<'_> {
    /// Returns a number for the claim. If two claims have the same number, one only waits for the other.
    pub(crate) fn number(self) -> i64 {
        let (kind, text) = match self {
            Self::NameKey(key) => (b'k', key),
            Self::NameLook(look) => (b'l', look),
            Self::External(id) => (b'e', id.as_str()),
        };
        let digest = Sha256::new().chain_update([kind]).chain_update(text).finalize();
        digest.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
}

/// An event to insert, other than a new message.
#[derive(Debug)]
pub(crate) struct NewEvent<'a> {
    pub(crate) room_id: RoomId,
    pub(crate) room_pk: i64,
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    pub(crate) kind: &'a EventKind,
    /// The user concerned; the same as `by_pk` if the event concerns no user.
    pub(crate) user_pk: i64,
    pub(crate) by_pk: i64,
    /// The referenced message.
    pub(crate) message_pk: Option<i64>,
    /// The other data: see [`body`](chatsphere_core::EventRow::body).
    pub(crate) body: Option<&'a str>,
}

impl NewEvent<'_> {
    /// Returns the change of the room's number of members.
    pub(crate) fn members(&self) -> i64 {
        match self.kind {
            EventKind::MemberJoined { .. } => 1,
            EventKind::MemberLeft { .. } => -1,
            _ => 0,
        }
    }
}

pub(crate) trait Rooms {
    fn find_room(&mut self, id: RoomId) -> impl Step<Option<RoomHead>>;
    /// Returns the new row's key. The row keeps the given counts and `seq`, so do not call [`Rooms::insert_event`] for events
    /// that they include.
    fn insert_room(&mut self, room: &Room, owner_pk: i64) -> impl Step<i64>;
    fn is_member(&mut self, room_pk: i64, user_pk: i64) -> impl Step<bool>;
    /// Returns a user's relation to a room that exists.
    fn room_relation(&mut self, room: RoomId, user: UserId) -> impl Step<Option<RoomRelation>>;
    /// Inserts the event, begins or ends the membership if the event does so, and updates the room's `seq` and number of
    /// members.
    fn insert_event(&mut self, event: &NewEvent<'_>) -> impl Step<()>;
}

/// The part of a token's row that rules need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenKey {
    pub(crate) pk: i64,
    pub(crate) revoked: bool,
}

pub(crate) trait Tokens {
    /// Returns the state of a token, by the rows within the transaction.
    fn token_state(&mut self, id: TokenId) -> impl Step<Option<TokenState>>;
    /// Returns a token's whole row.
    fn token_row(&mut self, id: TokenId) -> impl Step<Option<Token>>;
    /// Whether `elder` minted the token, directly or through others.
    fn descends(&mut self, id: TokenId, elder: TokenId) -> impl Step<bool>;
    /// Whether a CLIENT token that is valid at this time acts for this user.
    fn has_client_token(&mut self, user: UserId, now: Timestamp) -> impl Step<bool>;
    /// Returns the token, and locks it against revocation by other writers until the transaction ends.
    fn find_token(&mut self, id: TokenId) -> impl Step<Option<TokenKey>>;
    fn insert_token(&mut self, token: &Token, user_pk: i64, parent_pk: Option<i64>) -> impl Step<()>;
    /// Revokes a token and all tokens that it minted. Returns those that were not revoked before, parents first.
    fn revoke_family(&mut self, id: TokenId, at: Timestamp) -> impl Step<Vec<TokenId>>;
}

pub(crate) trait Idempotencies {
    /// Returns the record of a key, expired or not.
    fn find_record(&mut self, key: &[u8; 32]) -> impl Step<Option<FoundRecord>>;
    /// Stores records, whose keys are expired or new. Returns [`Failure::Conflict`] if another writer has just stored one of
    /// them.
    fn insert_records(&mut self, records: &[IdempotencyRecord]) -> impl Step<()>;
    /// Removes at most `limit` records that are older than `before`.
    fn forget(&mut self, before: Timestamp, limit: usize) -> impl Step<()>;
}

pub(crate) trait Usage {
    /// Returns how many bytes these users (sorted, each once) have stored on this day since 1970; users without a row are
    /// missing. Other writers can't count any of these users until the transaction ends.
    fn stored(&mut self, users: &[UserId], day: i64) -> impl Step<HashMap<UserId, u64>>;
    /// Sets the bytes that users have stored on this day.
    fn set_stored(&mut self, bytes: &[(UserId, u64)], day: i64) -> impl Step<()>;
}

pub(crate) trait ControlLog {
    /// Adds entries to the log. Positions rise in commit order, because no other writer can add until this transaction ends.
    fn add_control(&mut self, changes: &[(ControlChange, Timestamp)]) -> impl Step<()>;
    /// Removes, of the oldest `limit` entries, those older than `before`, but none of the newest `spared`. Called after
    /// [`ControlLog::add_control`] in the same transaction, so that no two writers do it at once.
    fn forget_control(&mut self, before: Timestamp, spared: u64, limit: usize) -> impl Step<()>;
}
