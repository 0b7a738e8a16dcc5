//! Users, as the writer needs them.

use chatsphere_core::{User, UserId, Username};
use rusqlite::OptionalExtension;

use super::SqliteWriter;
use crate::sqlite::rows::{self, user_columns};
use crate::write::database::{Keyed, Users};
use crate::write::failure::Failure;

impl Users for SqliteWriter {
    async fn find_user(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.id = ?1"))?
                .query_row([id.as_bytes()], |row| Ok(Keyed { value: rows::user(row)?, pk: row.get(6)? }))
                .optional()
        })
    }

    async fn find_user_to_change(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        // The transaction has the file to itself.
        self.find_user(id).await
    }

    async fn is_name_taken(&mut self, name: &Username) -> Result<bool, Failure> {
        self.run(|connection| connection.prepare_cached("SELECT 1 FROM users WHERE username = ?1")?.exists([name.as_str()]))
    }

    async fn insert_user(&mut self, user: &User) -> Result<i64, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO users (id, username, role, disabled, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .insert((
                    user.id.as_bytes(),
                    user.username.as_str(),
                    user.role.as_str(),
                    user.disabled,
                    user.created_at.as_millis(),
                    user.updated_at.as_millis(),
                ))
        })
    }

    async fn update_user(&mut self, pk: i64, user: &User) -> Result<(), Failure> {
        self.known.forget();
        self.run(|connection| {
            connection
                .prepare_cached("UPDATE users SET username = ?2, role = ?3, disabled = ?4, updated_at = ?5 WHERE pk = ?1")?
                .execute((pk, user.username.as_str(), user.role.as_str(), user.disabled, user.updated_at.as_millis()))
                .map(drop)
        })
    }
}
