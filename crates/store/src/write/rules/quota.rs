//! The quotas: how many bytes users have stored today, if that is limited.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chatsphere_core::store::NewMessage;
use chatsphere_core::{Error, Timestamp, TokenState, UserId};

use super::WriteInfo;
use crate::write::command::Command;
use crate::write::database::WriteDatabase;
use crate::write::failure::Failure;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The quotas of the users of a transaction. The default limits nobody.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// The bytes that a user may store in a day; 0 is no limit.
    most: u64,
    /// The day, counted from 1970 in UTC.
    day: i64,
    stored: HashMap<UserId, u64>,
    changed: BTreeSet<UserId>,
}

impl Quota {
    /// Reads how much the users of a batch have stored.
    pub(super) async fn read<D: WriteDatabase>(database: &mut D, batch: &[Command<D>], most: u64) -> Result<Self, Failure> {
        let Some(at) = batch.iter().map(|command| command.info().at()).max().filter(|_| most > 0) else {
            return Ok(Self::default());
        };
        let mut quota = Self { most, day: at.as_seconds().div_euclid(DAY_SECONDS), ..Self::default() };
        let mut users = BTreeSet::new();
        for command in batch {
            users.extend(quota.payer(database, command.info()).await?);
        }
        let users: Vec<UserId> = users.into_iter().collect();
        if !users.is_empty() {
            quota.stored = database.stored(&users, quota.day).await?;
        }
        Ok(quota)
    }

    /// Returns the user whose quota a write counts against, if there is one.
    pub(super) async fn payer<D: WriteDatabase>(
        &self,
        database: &mut D,
        write: &dyn WriteInfo,
    ) -> Result<Option<UserId>, Failure> {
        let Some(token) = write.actor().token() else { return Ok(None) };
        if self.most == 0 || !write.grows() {
            return Ok(None);
        }
        if let Some(user) = write.actor().user() {
            return Ok(Some(user));
        }
        Ok(database.token_state(token).await?.and_then(|state| write.payer(&state)))
    }

    /// Counts a message that is about to be stored, or rejects it.
    pub(super) fn take_message(&mut self, new: &NewMessage, state: Option<&TokenState>) -> Result<(), Error> {
        if self.most == 0 {
            return Ok(());
        }
        let Some(author) = new.actor.user().or_else(|| new.payer(state?)) else { return Ok(()) };
        let bytes = new.stored_bytes();
        if self.stored(author).saturating_add(bytes) > self.most {
            return Err(self.exceeded(new.at));
        }
        self.count(author, bytes);
        Ok(())
    }

    /// Checks that this user's quota is not exhausted.
    pub(super) fn check(&self, user: UserId, at: Timestamp) -> Result<(), Error> {
        if self.stored(user) >= self.most { Err(self.exceeded(at)) } else { Ok(()) }
    }

    /// Counts stored bytes.
    pub(super) fn count(&mut self, user: UserId, bytes: u64) {
        *self.stored.entry(user).or_default() += bytes;
        self.changed.insert(user);
    }

    /// Stores the counts in the database.
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
