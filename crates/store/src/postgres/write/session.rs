//! A connection with its prepared statements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatsphere_core::{ControlChange, TokenId, TokenState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::keys::{Keys, unknown};
use super::rights::{GUARD, GUARD_ALONE, MAX_FOLLOWED, POSITION, Rights};
use crate::control;
use crate::postgres::failure::Cause;
use crate::postgres::read;
use crate::postgres::rows;
use crate::write::database::IdMap;

/// Locks rooms, and returns [`POSITION`] with each, which saves a statement.
const LOCK_ROOMS: &str = "SELECT (SELECT position FROM control_head WHERE one = 1) FROM rooms WHERE id = ANY ($1) ORDER BY id
    FOR NO KEY UPDATE";

/// A session of the writer. It is cheap to clone. Statements that several clones send at once go out together, and are executed
/// in that order.
#[derive(Clone)]
pub(super) struct Session {
    client: Arc<Client>,
    statements: Arc<Mutex<HashMap<&'static str, Statement>>>,
    keys: Arc<Mutex<Keys>>,
    rights: Arc<Mutex<Rights>>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client: Arc::new(client), statements: Arc::default(), keys: Arc::default(), rights: Arc::default() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins a transaction. If the server's default is read-only, so is the transaction, because then no writes are wanted. It
    /// first takes the lock that guards rights, then locks the rooms' rows in the order of their ids. All nodes use this order,
    /// so they can't deadlock. Each statement has a snapshot of its own, so the next ones see what was committed before the
    /// locks were taken.
    pub(super) async fn begin(&self, rooms: &[Uuid], takes_rights: bool) -> Result<(), Cause> {
        let (lock, position) = (self.prepare(LOCK_ROOMS).await?, self.prepare(POSITION).await?);
        let guard = self.prepare(if takes_rights { GUARD_ALONE } else { GUARD }).await?;
        let begin = self.execute("BEGIN ISOLATION LEVEL READ COMMITTED");
        let guarded = async { Ok(self.client.execute(&guard, &[]).await?) };
        let locked = async {
            match rooms.is_empty() {
                true => Ok(Vec::new()),
                false => Ok(self.client.query(&lock, &[&rooms]).await?),
            }
        };
        let ((), _, locked) = tokio::try_join!(biased; begin, guarded, locked)?;
        let position = match locked.first() {
            Some(row) => rows::count(row, 0)?,
            None => rows::count(&self.client.query_one(&position, &[]).await?, 0)?,
        };
        self.follow(position).await
    }

    /// Updates the cache of tokens to the control log's position.
    async fn follow(&self, position: u64) -> Result<(), Cause> {
        let known = {
            let mut rights = self.rights();
            if !rights.begin(position) {
                return Ok(());
            }
            rights.position
        };
        let limit = i64::try_from(MAX_FOLLOWED + 1).unwrap_or(i64::MAX);
        let found = self.query(read::urgent::CONTROL_AFTER, &[&known.cast_signed(), &limit]).await?;
        let entries: Vec<_> = found.iter().map(control::from_row).collect::<Result<_, _>>()?;
        self.rights().follow(&entries, position);
        Ok(())
    }

    /// Returns the states of those of these tokens that exist.
    pub(super) async fn token_states(&self, tokens: &[TokenId]) -> Result<IdMap<TokenId, TokenState>, Cause> {
        let mut states = IdMap::with_capacity_and_hasher(tokens.len(), Default::default());
        let mut unknown: Vec<Uuid> = Vec::new();
        {
            let mut rights = self.rights();
            for token in tokens {
                match rights.get(*token) {
                    Some(state) => drop(states.insert(*token, state.clone())),
                    None => unknown.push(*token.as_uuid()),
                }
            }
        }
        if !unknown.is_empty() {
            for row in self.query(read::tokens::SOME, &[&unknown]).await? {
                let row = rows::token_with_user(&row)?;
                let state = TokenState::from(&row);
                self.rights().keep(row.token.id, state.clone());
                states.insert(row.token.id, state);
            }
        }
        Ok(states)
    }

    /// Removes what the transaction has changed from the cache of tokens.
    pub(super) fn forget_rights(&self, changes: impl IntoIterator<Item = ControlChange>) {
        self.rights().forget(changes);
    }

    fn rights(&self) -> MutexGuard<'_, Rights> {
        self.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement without parameters.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Cause> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) async fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Cause> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    /// Executes a statement, and returns how many rows it changed.
    pub(super) async fn change(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Cause> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    /// Looks up the keys of those of these rooms and users that exist, and calls `look` with the cached keys.
    pub(super) async fn with_keys<T>(&self, rooms: &[Uuid], users: &[Uuid], look: impl FnOnce(&Keys) -> T) -> Result<T, Cause> {
        let (rooms, users) = {
            let mut keys = self.keys();
            (unknown(&mut keys.rooms, rooms), unknown(&mut keys.users, users))
        };
        if !rooms.is_empty() || !users.is_empty() {
            let (rooms, users) = tokio::try_join!(
                async { self.query("SELECT id, pk FROM rooms WHERE id = ANY ($1)", &[&rooms]).await },
                async { self.query("SELECT id, pk FROM users WHERE id = ANY ($1)", &[&users]).await },
            )?;
            let mut keys = self.keys();
            for row in rooms {
                keys.rooms.insert(row.try_get(0)?, row.try_get(1)?, 1);
            }
            for row in users {
                keys.users.insert(row.try_get(0)?, row.try_get(1)?, 1);
            }
        }
        Ok(look(&self.keys()))
    }

    /// Clears the caches after a rollback: they may have keys of rows that the transaction inserted, and tokens that it
    /// changed.
    pub(super) fn forget(&self) {
        *self.keys() = Keys::default();
        *self.rights() = Rights::default();
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn prepare(&self, sql: &'static str) -> Result<Statement, Cause> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }
}
