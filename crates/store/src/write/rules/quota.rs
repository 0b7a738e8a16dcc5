//! How many bytes users have stored today, where that is bounded.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chatsphere_core::store::NewMessage;
use chatsphere_core::{Actor, Error, Timestamp, TokenState, TokenType, UserId};

use crate::write::command::{Request, message_bytes};
use crate::write::database::WriteDatabase;
use crate::write::failure::Failure;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What is left to the users of a transaction. The default bounds nobody.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// Bytes a user and day; 0 is no limit.
    most: u64,
    /// The day, counted from 1970.
    day: i64,
    stored: HashMap<UserId, u64>,
    changed: BTreeSet<UserId>,
}

impl Quota {
    /// Reads what is known of those who pay for the requests.
    pub(super) async fn read<D: WriteDatabase>(database: &mut D, requests: &[&Request], most: u64) -> Result<Self, Failure> {
        let Some(at) = requests.iter().map(|request| request.at()).max().filter(|_| most > 0) else {
            return Ok(Self::default());
        };
        let mut quota = Self { most, day: at.as_seconds().div_euclid(DAY_SECONDS), ..Self::default() };
        let mut users = BTreeSet::new();
        for request in requests {
            users.extend(quota.payer(database, request).await?);
        }
        let users: Vec<UserId> = users.into_iter().collect();
        if !users.is_empty() {
            quota.stored = database.stored(&users, quota.day).await?;
        }
        Ok(quota)
    }

    /// Who pays for a request, if anybody does.
    pub(super) async fn payer<D: WriteDatabase>(&self, database: &mut D, request: &Request) -> Result<Option<UserId>, Failure> {
        let Actor::Token(token) = request.actor() else { return Ok(None) };
        if self.most == 0 || !request.grows() {
            return Ok(None);
        }
        let state = database.token_state(token).await?;
        Ok(match request {
            Request::Append(new) => author_pays(new, state.as_ref()),
            _ => state.filter(|state| state.token_type() == TokenType::User).map(|state| state.user_id()),
        })
    }

    /// Counts a message that is about to be stored.
    pub(super) fn take_message(&mut self, new: &NewMessage, state: Option<&TokenState>) -> Result<(), Error> {
        if self.most == 0 {
            return Ok(());
        }
        let Some(author) = author_pays(new, state) else { return Ok(()) };
        let bytes = message_bytes(new);
        if self.stored(author).saturating_add(bytes) > self.most {
            return Err(self.exceeded(new.at));
        }
        self.count(author, bytes);
        Ok(())
    }

    /// Whether this user has anything left.
    pub(super) fn check(&self, user: UserId, at: Timestamp) -> Result<(), Error> {
        if self.stored(user) >= self.most { Err(self.exceeded(at)) } else { Ok(()) }
    }

    /// Counts what was stored.
    pub(super) fn count(&mut self, user: UserId, bytes: u64) {
        *self.stored.entry(user).or_default() += bytes;
        self.changed.insert(user);
    }

    /// Writes down what was counted.
    pub(super) async fn keep<D: WriteDatabase>(self, database: &mut D) -> Result<(), Failure> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let bytes: Vec<_> = self.changed.iter().map(|user| (*user, self.stored(*user))).collect();
        database.set_stored(&bytes, self.day).await
    }

    fn stored(&self, user: UserId) -> u64 {
        self.stored.get(&user).copied().unwrap_or(0)
    }

    fn exceeded(&self, at: Timestamp) -> Error {
        let left = (self.day + 1) * DAY_SECONDS - at.as_seconds();
        Error::QuotaExceeded(Duration::from_secs(u64::try_from(left).unwrap_or(0).max(1)))
    }
}

/// The author pays for a message, unless a backend speaks in its own name.
fn author_pays(new: &NewMessage, state: Option<&TokenState>) -> Option<UserId> {
    let state = state?;
    let own = state.token_type() == TokenType::Client && state.user_id() == new.author;
    (!own).then_some(new.author)
}
