//! Users, as the writer needs them.

use chatsphere_core::{ControlChange, User, UserId, Username};
use tokio_postgres::Row;

use super::PostgresWriter;
use crate::postgres::failure::Cause;
use crate::postgres::rows::{self, user_columns};
use crate::write::database::{Keyed, Users};
use crate::write::failure::Failure;

const FIND: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.id = $1");
const FIND_TO_CHANGE: &str = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.id = $1 FOR UPDATE");

impl Users for PostgresWriter {
    async fn find_user(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        let found = self.query(FIND, &[id.as_uuid()]).await?;
        self.read(found.first().map(keyed_user).transpose())
    }

    async fn find_user_to_change(&mut self, id: UserId) -> Result<Option<Keyed<User>>, Failure> {
        let found = self.query(FIND_TO_CHANGE, &[id.as_uuid()]).await?;
        self.read(found.first().map(keyed_user).transpose())
    }

    async fn is_name_taken(&mut self, name: &Username) -> Result<bool, Failure> {
        Ok(!self.query("SELECT FROM users WHERE username = $1", &[&name.as_str()]).await?.is_empty())
    }

    async fn insert_user(&mut self, user: &User) -> Result<i64, Failure> {
        let sql = "INSERT INTO users (id, username, role, disabled, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING pk";
        let (created, updated) = (user.created_at.as_millis(), user.updated_at.as_millis());
        let made = self
            .query(sql, &[user.id.as_uuid(), &user.username.as_str(), &user.role.as_str(), &user.disabled, &created, &updated])
            .await?;
        self.read(new_key(&made))
    }

    async fn update_user(&mut self, pk: i64, user: &User) -> Result<(), Failure> {
        self.forget_rights([ControlChange::User(user.id)]);
        let sql = "UPDATE users SET username = $2, role = $3, disabled = $4, updated_at = $5 WHERE pk = $1";
        let updated = user.updated_at.as_millis();
        self.query(sql, &[&pk, &user.username.as_str(), &user.role.as_str(), &user.disabled, &updated]).await.map(drop)
    }
}

fn keyed_user(row: &Row) -> Result<Keyed<User>, Cause> {
    Ok(Keyed { value: rows::user(row)?, pk: row.try_get(6)? })
}

/// What `RETURNING pk` returned.
pub(super) fn new_key(made: &[Row]) -> Result<i64, Cause> {
    match made.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(Cause::Foreign("no key")),
    }
}
