//! Reading users.

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{User, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::pages::{page, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, user_columns};

pub(in crate::sqlite) fn user(connection: &Connection, id: UserId) -> Result<Option<User>, Stop> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = ?1");
    Ok(connection.prepare_cached(sql)?.query_row([id.as_bytes()], rows::user).optional()?)
}

pub(in crate::sqlite) fn user_by_name(connection: &Connection, username: &str) -> Result<Option<User>, Stop> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.username = ?1");
    Ok(connection.prepare_cached(sql)?.query_row([username], rows::user).optional()?)
}

pub(in crate::sqlite) fn users(connection: &Connection, request: PageRequest) -> Result<Page<User>, Stop> {
    let sql = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.pk > ?1 ORDER BY u.pk LIMIT ?2");
    let after = request.cursor.map_or(0, |cursor| cursor.0);
    let found = connection
        .prepare_cached(sql)?
        .query_map((after, rows_for(request.limit)), |row| Ok((row.get(7)?, rows::user(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok(page(found, request.limit))
}
