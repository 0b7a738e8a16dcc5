//! What a database must be able to do within a transaction. Each adapter implements one trait a file; the
//! [rules](super::rules) above them are written once.
//!
//! `pk` is a row's integer key, which never leaves the store.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use chatsphere_core::store::{NewMessage, RoomRelation};
use chatsphere_core::{
    ClientMessageId, ControlChange, EventKind, ExternalId, Message, MessageChange, MessageId, NameKeys, Room, RoomId, Seq,
    Timestamp, Token, TokenId, TokenState, User, UserId, UserRef,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::failure::Failure;
use super::rules::outcome::{FoundRecord, IdempotencyRecord};

/// A map by ids of rows that exist. Each message of a batch looks into several; this hash takes a quarter of the standard
/// library's time. It is not for keys that clients choose, which stay with the standard library's.
pub(crate) type IdMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
/// The same for sets.
pub(crate) type IdSet<K> = HashSet<K, foldhash::fast::RandomState>;

/// Does something within the transaction.
pub(crate) trait Step<T>: Future<Output = Result<T, Failure>> + Send {}
impl<T, F: Future<Output = Result<T, Failure>> + Send> Step<T> for F {}

/// A database's writing side.
pub(crate) trait WriteDatabase:
    Transactions + Messages + Users + Rooms + Tokens + Idempotencies + ControlLog + Usage
{
}
impl<D: Transactions + Messages + Users + Rooms + Tokens + Idempotencies + ControlLog + Usage> WriteDatabase for D {}

pub(crate) trait Transactions: Send {
    /// Begins a transaction, first of all connecting again if need be, and keeps every other writer from adding events to
    /// `rooms` (sorted, each once) until it ends, and from taking rights away from tokens and users. With `takes_rights`, which
    /// a transaction needs that does so itself, it waits until no other writer is at work, and has none beside it. Facts read
    /// later hold until the end. The oldest write in it has waited `since`.
    fn begin(&mut self, rooms: &[RoomId], takes_rights: bool, since: Instant) -> impl Step<()>;
    /// Makes the transaction durable.
    fn commit(&mut self) -> impl Step<()>;
    /// Undoes what [`Transactions::begin`] began, if that is not already so.
    fn rollback(&mut self) -> impl Future<Output = ()> + Send;
    /// Finds some space for transactions that must go through, with `full` even what was kept for that. Whether there is some
    /// now.
    fn relieve(&mut self, full: bool) -> impl Future<Output = bool> + Send;
}

/// What the database knows about a run of messages before it is decided.
#[derive(Debug, Default)]
pub(crate) struct AppendFacts {
    /// The rooms that exist.
    pub(crate) rooms: IdMap<RoomId, RoomHead>,
    /// The authors that exist.
    pub(crate) authors: IdMap<UserId, Author>,
    /// The tokens on whose behalf they are written, those that exist.
    pub(crate) tokens: IdMap<TokenId, TokenState>,
    /// Who of those asked about is a member where.
    pub(crate) members: IdSet<(RoomId, UserId)>,
    /// Messages that already have one of the client's ids.
    pub(crate) sent: HashMap<(RoomId, UserId, ClientMessageId), Sent>,
    /// Idempotency keys that are known, expired or not.
    pub(crate) records: HashMap<[u8; 32], FoundRecord>,
    /// The messages that those name.
    pub(crate) answered: HashMap<(RoomId, Seq), Message>,
}

/// A message that was sent before.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// As it is now.
    pub(crate) message: Message,
    /// What it said first; empty if that was forgotten.
    pub(crate) first: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomHead {
    pub(crate) pk: i64,
    pub(crate) seq: Seq,
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

/// What a run of messages does to a room's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomAdvance {
    pub(crate) pk: i64,
    /// Its newest event.
    pub(crate) seq: Seq,
    /// How many messages came.
    pub(crate) messages: i64,
}

/// A new text of a message.
#[derive(Debug)]
pub(crate) struct NewText<'a> {
    pub(crate) message_pk: i64,
    /// The message with this text and its change.
    pub(crate) message: &'a Message,
    pub(crate) change: &'a MessageChange,
    /// Who wrote it.
    pub(crate) by_pk: i64,
}

pub(crate) trait Messages {
    fn append_facts(&mut self, messages: &[&NewMessage]) -> impl Step<AppendFacts>;
    fn insert_messages(&mut self, rows: &[MessageRow], rooms: &[RoomAdvance]) -> impl Step<()>;
    /// A message of a room, in its present state.
    fn find_message(&mut self, room: RoomId, id: MessageId) -> impl Step<Option<Keyed<Message>>>;
    /// Appends a text to those of a message, which it has from now on.
    fn append_text(&mut self, text: &NewText<'_>) -> impl Step<()>;
    /// Empties all texts of a message but the present one.
    fn forget_texts(&mut self, message_pk: i64) -> impl Step<()>;
    /// When a room's event was accepted.
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
    /// The same, and keeps other writers from changing it.
    fn find_user_to_change(&mut self, id: UserId) -> impl Step<Option<Keyed<User>>>;
    /// The same by the application's own id.
    fn find_external_user_to_change(&mut self, id: &ExternalId) -> impl Step<Option<Keyed<User>>>;
    /// Keeps every other writer that claims one of these from going on, until the transaction ends. What is read from then on
    /// is newer than what they wrote.
    fn claim(&mut self, claims: &[Claim<'_>]) -> impl Step<()>;
    /// Gives rows from before names had keys theirs, at most `limit` of them. Answers how many.
    fn key_names(&mut self, limit: usize) -> impl Step<usize>;
    /// Whether a user other than `except` has a name of this key.
    fn is_name_taken(&mut self, keys: &NameKeys, except: Option<i64>) -> impl Step<bool>;
    /// Whether a user whom `wanted` asks for has a name that looks the same.
    fn has_lookalike(&mut self, keys: &NameKeys, wanted: &Lookalikes) -> impl Step<bool>;
    /// The new row's key.
    fn insert_user(&mut self, user: &User) -> impl Step<i64>;
    fn update_user(&mut self, pk: i64, user: &User) -> impl Step<()>;
}

/// What no two users may have, as far as two writers could give it at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim<'a> {
    NameKey(&'a str),
    NameLook(&'a str),
    External(&'a ExternalId),
}

/// Which users' names must not look like a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookalikes {
    /// Not this one's, which has the name itself.
    pub(crate) except: Option<i64>,
    /// Besides the names of users who have rights over others (ADMIN, MODERATOR, in whose name a CLIENT token acts), those of
    /// all users that are not disabled.
    pub(crate) ordinary: bool,
    /// When a CLIENT token must be good.
    pub(crate) now: Timestamp,
}

impl Claim<'_> {
    /// A number for the claim. Two claims of the same number only wait for each other.
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
    /// Whom it is about; the same as `by_pk` where it is about nobody.
    pub(crate) user_pk: i64,
    pub(crate) by_pk: i64,
    /// The message that it is about.
    pub(crate) message_pk: Option<i64>,
    /// What else there is to say: see [`body`](chatsphere_core::EventRow::body).
    pub(crate) body: Option<&'a str>,
}

impl NewEvent<'_> {
    /// By how many it changes the number of the room's members.
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
    /// The new row's key. Its counts and `seq` stay as they are: [`Rooms::insert_event`] is not to be called for what they
    /// count already.
    fn insert_room(&mut self, room: &Room, owner_pk: i64) -> impl Step<i64>;
    fn is_member(&mut self, room_pk: i64, user_pk: i64) -> impl Step<bool>;
    /// How a user stands to a room that exists.
    fn room_relation(&mut self, room: RoomId, user: UserId) -> impl Step<Option<RoomRelation>>;
    /// Inserts the event, begins or ends the membership if it is one's beginning or end, and brings the room's `seq` and count
    /// of members up to date.
    fn insert_event(&mut self, event: &NewEvent<'_>) -> impl Step<()>;
}

/// A token's row as a rule needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenKey {
    pub(crate) pk: i64,
    pub(crate) revoked: bool,
}

pub(crate) trait Tokens {
    /// Who calls by a token, as the rows are within the transaction.
    fn token_state(&mut self, id: TokenId) -> impl Step<Option<TokenState>>;
    /// A token's whole row.
    fn token_row(&mut self, id: TokenId) -> impl Step<Option<Token>>;
    /// Whether `elder` minted the token, itself or through others.
    fn descends(&mut self, id: TokenId, elder: TokenId) -> impl Step<bool>;
    /// Whether a CLIENT token that is good at this moment acts in this user's name.
    fn has_client_token(&mut self, user: UserId, now: Timestamp) -> impl Step<bool>;
    /// The token, which other writers can't revoke before this transaction ends.
    fn find_token(&mut self, id: TokenId) -> impl Step<Option<TokenKey>>;
    fn insert_token(&mut self, token: &Token, user_pk: i64, parent_pk: Option<i64>) -> impl Step<()>;
    /// Revokes a token and all below it; answers those that were not revoked yet, parents before children.
    fn revoke_family(&mut self, id: TokenId, at: Timestamp) -> impl Step<Vec<TokenId>>;
}

pub(crate) trait Idempotencies {
    /// What a key stands for, expired or not.
    fn find_record(&mut self, key: &[u8; 32]) -> impl Step<Option<FoundRecord>>;
    /// Keeps answers; each key is expired or new. [`Failure::Conflict`] if another writer just stored one of them.
    fn insert_records(&mut self, records: &[IdempotencyRecord]) -> impl Step<()>;
    /// Removes at most `limit` that are older than `before`.
    fn forget(&mut self, before: Timestamp, limit: usize) -> impl Step<()>;
}

pub(crate) trait Usage {
    /// How many bytes these users (sorted, each once) have stored on this day since 1970, for those of whom that is known; and
    /// keeps other writers from counting any of them until the transaction ends.
    fn stored(&mut self, users: &[UserId], day: i64) -> impl Step<HashMap<UserId, u64>>;
    /// What users have stored on this day.
    fn set_stored(&mut self, bytes: &[(UserId, u64)], day: i64) -> impl Step<()>;
}

pub(crate) trait ControlLog {
    /// Adds to the log. Positions rise in commit order: no other writer can add until this transaction ends.
    fn add_control(&mut self, changes: &[(ControlChange, Timestamp)]) -> impl Step<()>;
    /// Removes those of the oldest `limit` that are older than `before`, but none of the newest `spared`. Comes after
    /// [`ControlLog::add_control`] in the same transaction, so that no two writers do it at once.
    fn forget_control(&mut self, before: Timestamp, spared: u64, limit: usize) -> impl Step<()>;
}
