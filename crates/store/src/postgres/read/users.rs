//! Reads users and their tokens.

use async_trait::async_trait;
use chatsphere_core::store::{Page, PageRequest, UserReads};
use chatsphere_core::{Error, TokenWithUser, User, UserId};
use tokio_postgres::Row;

use super::tokens;
use crate::pages::{page, rows_for};
use crate::postgres::database::PostgresStore;
use crate::postgres::failure::Cause;
use crate::postgres::rows::{self, user_columns};

#[async_trait]
impl UserReads for PostgresStore {
    async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1");
        let answer = |found: Vec<Row>| Ok(Ok(found.first().map(rows::user).transpose()?));
        self.database.reads.read(sql, &[id.as_uuid()], answer).await
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error> {
        // No name contains this character, and PostgreSQL would reject the text.
        if username.contains('\0') {
            return Ok(None);
        }
        let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.username = $1");
        let answer = |found: Vec<Row>| Ok(Ok(found.first().map(rows::user).transpose()?));
        self.database.reads.read(sql, &[&username], answer).await
    }

    async fn users(&self, request: PageRequest) -> Result<Page<User>, Error> {
        let sql = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.pk > $1 ORDER BY u.pk LIMIT $2");
        let after = request.cursor.map_or(0, |cursor| cursor.0);
        let answer = |found: Vec<Row>| {
            let users = found.iter().map(|row| Ok((row.try_get(7)?, rows::user(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(users, request.limit)))
        };
        self.database.reads.read(sql, &[&after, &rows_for(request.limit)], answer).await
    }

    async fn tokens(&self, request: PageRequest) -> Result<Page<TokenWithUser>, Error> {
        let before = request.cursor.map_or(i64::MAX, |cursor| cursor.0);
        let answer = |found: Vec<Row>| {
            let tokens =
                found.iter().map(|row| Ok((row.try_get(15)?, rows::token_with_user(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(tokens, request.limit)))
        };
        self.database.reads.read(tokens::PAGE, &[&before, &rows_for(request.limit)], answer).await
    }
}
