//! The writer's access to users.

use chatsphere_core::{ControlChange, ExternalId, NameKeys, User, UserId};
use tokio_postgres::Row;

use super::PostgresWriter;
use crate::postgres::failure::Cause;
use crate::postgres::names::{self, NAMES_WITHOUT_KEYS, SET_KEYS};
use crate::postgres::rows::{self, user_columns};
use crate::write::database::{Claim, Keyed, Lookalikes, Users};
use crate::write::failure::Failure;

const FIND: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.id = $1");
const FIND_TO_CHANGE: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.id = $1 FOR UPDATE");
const FIND_EXTERNAL: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.external_id = $1 FOR UPDATE");
/// Locks in the order of the numbers, as every writer does, so that two writers can't deadlock.
const CLAIM: &str = "SELECT pg_advisory_xact_lock(number) FROM (SELECT unnest($1::bigint[]) AS number ORDER BY 1) AS claims";
/// Selects users whose names look like one. Each half has an index of its own.
const LOOKALIKE: &str = "SELECT FROM (
        SELECT pk, role, disabled FROM users WHERE name_look = $1
        UNION ALL
        SELECT pk, role, disabled FROM users WHERE name_key = $2
    ) AS u
    WHERE u.pk <> $3 AND (u.role <> 'MEMBER' OR ($4 AND NOT u.disabled) OR EXISTS (
        SELECT FROM tokens t
        WHERE t.user_pk = u.pk AND t.kind = 'CLIENT' AND t.revoked_at IS NULL AND t.expires_at > $5
    ))
    LIMIT 1";

impl Users for PostgresWriter {
    async fn find_user(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        let found = self.query(FIND, &[id.as_uuid()]).await?;
        self.read(found.first().map(rows::keyed_user).transpose())
    }

    async fn find_user_to_change(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        let found = self.query(FIND_TO_CHANGE, &[id.as_uuid()]).await?;
        self.read(found.first().map(rows::keyed_user).transpose())
    }

    async fn find_external_user_to_change(&mut self, id: &ExternalId) -> Result<Option<Keyed<User>>, Failure> {
        let found = self.query(FIND_EXTERNAL, &[&id.as_str()]).await?;
        self.read(found.first().map(rows::keyed_user).transpose())
    }

    async fn claim(&mut self, claims: &[Claim<'_>]) -> Result<(), Failure> {
        let numbers: Vec<i64> = claims.iter().map(|claim| claim.number()).collect();
        self.query(CLAIM, &[&numbers]).await.map(drop)
    }

    async fn key_names(&mut self, limit: usize) -> Result<usize, Failure> {
        let without = self.query(NAMES_WITHOUT_KEYS, &[&i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        if without.is_empty() {
            return Ok(0);
        }
        let keys = self.read(names::keys(&without))?;
        self.query(SET_KEYS, &[&keys.rows, &keys.keys, &keys.looks]).await?;
        Ok(without.len())
    }

    async fn is_name_taken(&mut self, keys: &NameKeys, except: Option<i64>) -> Result<bool, Failure> {
        let sql = "SELECT FROM users WHERE name_key = $1 AND pk <> $2 LIMIT 1";
        Ok(!self.query(sql, &[&keys.key, &except.unwrap_or_default()]).await?.is_empty())
    }

    async fn has_lookalike(&mut self, keys: &NameKeys, wanted: &Lookalikes) -> Result<bool, Failure> {
        let (except, now) = (wanted.except.unwrap_or_default(), wanted.now.as_millis());
        Ok(!self.query(LOOKALIKE, &[&keys.look, &keys.key, &except, &wanted.ordinary, &now]).await?.is_empty())
    }

    async fn insert_user(&mut self, user: &User) -> Result<i64, Failure> {
        let sql = "INSERT INTO users (id, username, role, disabled, created_at, updated_at, name_key, name_look, external_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING pk";
        let keys = NameKeys::of(user.username.as_str());
        let (created, updated) = (user.created_at.as_millis(), user.updated_at.as_millis());
        let external_id = user.external_id.as_ref().map(ExternalId::as_str);
        let (name, role) = (user.username.as_str(), user.role.as_str());
        let id = user.id.as_uuid();
        let made = self
            .query(sql, &[id, &name, &role, &user.disabled, &created, &updated, &keys.key, &keys.look, &external_id])
            .await?;
        self.read(new_key(&made))
    }

    async fn update_user(&mut self, pk: i64, user: &User) -> Result<(), Failure> {
        self.forget_rights([ControlChange::User(user.id)]);
        let sql = "UPDATE users SET username = $2, role = $3, disabled = $4, updated_at = $5, name_key = $6, name_look = $7
            WHERE pk = $1";
        let keys = NameKeys::of(user.username.as_str());
        let (name, role, updated) = (user.username.as_str(), user.role.as_str(), user.updated_at.as_millis());
        self.query(sql, &[&pk, &name, &role, &user.disabled, &updated, &keys.key, &keys.look]).await.map(drop)
    }
}

/// Returns the key that `RETURNING pk` returned.
pub(super) fn new_key(made: &[Row]) -> Result<i64, Cause> {
    match made.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(Cause::Foreign("no key")),
    }
}
