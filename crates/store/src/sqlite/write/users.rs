//! The writer's access to users.

use chatsphere_core::{ExternalId, NameKeys, User, UserId};
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::SqliteWriter;
use crate::sqlite::rows::{self, user_columns};
use crate::write::database::{Claim, Keyed, Lookalikes, Users};
use crate::write::failure::Failure;

const FIND: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.id = ?1");
const FIND_EXTERNAL: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.external_id = ?1");
/// Selects users whose names look like one. Each half has an index of its own.
const LOOKALIKE: &str = "SELECT 1 FROM (
        SELECT pk, role, disabled FROM users WHERE name_look = ?1
        UNION ALL
        SELECT pk, role, disabled FROM users WHERE name_key = ?2
    ) AS u
    WHERE u.pk <> ?3 AND (u.role <> 'MEMBER' OR (?4 AND NOT u.disabled) OR EXISTS (
        SELECT 1 FROM tokens t
        WHERE t.user_pk = u.pk AND t.kind = 'CLIENT' AND t.revoked_at IS NULL AND t.expires_at > ?5
    ))
    LIMIT 1";

impl Users for SqliteWriter {
    async fn find_user(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        self.run(|connection| find(connection, FIND, id.as_bytes()))
    }

    async fn find_user_to_change(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        // The transaction holds the file's only write lock.
        self.find_user(id).await
    }

    async fn find_external_user_to_change(&mut self, id: &ExternalId) -> Result<Option<Keyed<User>>, Failure> {
        self.run(|connection| find(connection, FIND_EXTERNAL, id.as_str()))
    }

    async fn claim(&mut self, _: &[Claim<'_>]) -> Result<(), Failure> {
        // The transaction holds the file's only write lock.
        Ok(())
    }

    async fn key_names(&mut self, limit: usize) -> Result<usize, Failure> {
        self.run(|connection| key_names(connection, limit))
    }

    async fn is_name_taken(&mut self, keys: &NameKeys, except: Option<i64>) -> Result<bool, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT 1 FROM users WHERE name_key = ?1 AND pk <> ?2")?
                .exists((&keys.key, except.unwrap_or_default()))
        })
    }

    async fn has_lookalike(&mut self, keys: &NameKeys, wanted: &Lookalikes) -> Result<bool, Failure> {
        let Lookalikes { except, ordinary, now } = *wanted;
        self.run(|connection| {
            connection.prepare_cached(LOOKALIKE)?.exists((
                &keys.look,
                &keys.key,
                except.unwrap_or_default(),
                ordinary,
                now.as_millis(),
            ))
        })
    }

    async fn insert_user(&mut self, user: &User) -> Result<i64, Failure> {
        let keys = NameKeys::of(user.username.as_str());
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO users
                         (id, username, role, disabled, created_at, updated_at, name_key, name_look, external_id)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .insert((
                    user.id.as_bytes(),
                    user.username.as_str(),
                    user.role.as_str(),
                    user.disabled,
                    user.created_at.as_millis(),
                    user.updated_at.as_millis(),
                    keys.key,
                    keys.look,
                    user.external_id.as_ref().map(ExternalId::as_str),
                ))
        })
    }

    async fn update_user(&mut self, pk: i64, user: &User) -> Result<(), Failure> {
        let keys = NameKeys::of(user.username.as_str());
        self.known.forget();
        self.run(|connection| {
            connection
                .prepare_cached(
                    "UPDATE users SET username = ?2, role = ?3, disabled = ?4, updated_at = ?5, name_key = ?6, name_look = ?7
                     WHERE pk = ?1",
                )?
                .execute((
                    pk,
                    user.username.as_str(),
                    user.role.as_str(),
                    user.disabled,
                    user.updated_at.as_millis(),
                    keys.key,
                    keys.look,
                ))
                .map(drop)
        })
    }
}

fn find(connection: &Connection, sql: &str, id: impl ToSql) -> rusqlite::Result<Option<Keyed<User>>> {
    connection.prepare_cached(sql)?.query_row([id], |row| rows::keyed_user(row)).optional()
}

/// Computes the keys of at most `limit` names without keys. Returns how many.
pub(in crate::sqlite) fn key_names(connection: &Connection, limit: usize) -> rusqlite::Result<usize> {
    let without: Vec<(i64, String)> = connection
        .prepare_cached("SELECT pk, username FROM users WHERE name_key IS NULL LIMIT ?1")?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut set = connection.prepare_cached("UPDATE users SET name_key = ?2, name_look = ?3 WHERE pk = ?1")?;
    for (pk, name) in &without {
        let keys = NameKeys::of(name);
        set.execute((pk, keys.key, keys.look))?;
    }
    Ok(without.len())
}
