//! Reads users and their tokens.

use async_trait::async_trait;
use chatsphere_core::store::{Page, PageRequest, UserReads};
use chatsphere_core::{Error, TokenWithUser, User, UserId};
use rusqlite::OptionalExtension;

use super::tokens;
use crate::pages::{page, rows_for};
use crate::sqlite::database::SqliteStore;
use crate::sqlite::rows::{self, user_columns};

#[async_trait]
impl UserReads for SqliteStore {
    async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = ?1");
        let read = move |connection: &rusqlite::Connection| {
            Ok(connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| rows::user(row)).optional()?)
        };
        self.database.readers.read(read).await
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error> {
        let username = username.to_owned();
        let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.username = ?1");
        let read = move |connection: &rusqlite::Connection| {
            Ok(connection.prepare_cached(sql)?.query_row([username], |row| rows::user(row)).optional()?)
        };
        self.database.readers.read(read).await
    }

    async fn users(&self, request: PageRequest) -> Result<Page<User>, Error> {
        let sql = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.pk > ?1 ORDER BY u.pk LIMIT ?2");
        let read = move |connection: &rusqlite::Connection| {
            let after = request.cursor.map_or(0, |cursor| cursor.0);
            let found = connection
                .prepare_cached(sql)?
                .query_map((after, rows_for(request.limit)), |row| Ok((row.get(7)?, rows::user(row)?)))?
                .collect::<Result<_, _>>()?;
            Ok(page(found, request.limit))
        };
        self.database.readers.read(read).await
    }

    async fn tokens(&self, request: PageRequest) -> Result<Page<TokenWithUser>, Error> {
        self.database.readers.read(move |connection| tokens::tokens(connection, request)).await
    }
}
