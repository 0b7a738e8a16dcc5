//! Reads tokens.

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{Timestamp, TokenId, TokenWithUser, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::pages::{page, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, token_columns};

macro_rules! from_tokens {
    () => {
        " FROM tokens t JOIN users u ON u.pk = t.user_pk LEFT JOIN tokens p ON p.pk = t.parent_pk "
    };
}

pub(in crate::sqlite) fn token(connection: &Connection, id: TokenId) -> rusqlite::Result<Option<TokenWithUser>> {
    let sql = concat!("SELECT ", token_columns!(), from_tokens!(), "WHERE t.id = ?1");
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| rows::token_with_user(row)).optional()
}

pub(in crate::sqlite) fn has_client_token(connection: &Connection, user: UserId, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM tokens WHERE kind = 'CLIENT' AND user_pk = (SELECT pk FROM users WHERE id = ?1)
                 AND revoked_at IS NULL AND expires_at > ?2)";
    connection.prepare_cached(sql)?.query_row((user.as_bytes(), now.as_millis()), |row| row.get(0))
}

pub(super) fn tokens(connection: &Connection, request: PageRequest) -> Result<Page<TokenWithUser>, Stop> {
    let sql = concat!("SELECT ", token_columns!(), ", t.pk", from_tokens!(), "WHERE t.pk < ?1 ORDER BY t.pk DESC LIMIT ?2");
    let before = request.cursor.map_or(i64::MAX, |cursor| cursor.0);
    let found = connection
        .prepare_cached(sql)?
        .query_map((before, rows_for(request.limit)), |row| Ok((row.get(15)?, rows::token_with_user(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok(page(found, request.limit))
}
