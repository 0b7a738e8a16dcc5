//! Computes the keys of names that were stored before names had keys. SQL can't compute them.

use chatsphere_core::NameKeys;
use tokio_postgres::{Client, Row};

use super::failure::Cause;
use crate::error::OpenError;

/// Selects and locks some rows whose names have no keys.
pub(super) const NAMES_WITHOUT_KEYS: &str = "SELECT pk, username FROM users WHERE name_key IS NULL LIMIT $1 FOR UPDATE";
/// Sets the keys of rows, given as three arrays.
pub(super) const SET_KEYS: &str = "UPDATE users SET name_key = new.key, name_look = new.look
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS new (pk, key, look)
    WHERE users.pk = new.pk";
/// The same for rows that no other node has locked.
const NAMES_LEFT: &str = "SELECT pk, username FROM users WHERE name_key IS NULL ORDER BY pk LIMIT $1 FOR UPDATE SKIP LOCKED";
/// The number of rows in one transaction of [`key_all`].
const AT_ONCE: i64 = 5_000;

/// The parameters of [`SET_KEYS`].
pub(super) struct Keys {
    pub(super) rows: Vec<i64>,
    pub(super) keys: Vec<String>,
    pub(super) looks: Vec<String>,
}

/// Computes the keys of the rows that [`NAMES_WITHOUT_KEYS`] selects.
pub(super) fn keys(rows: &[Row]) -> Result<Keys, Cause> {
    let mut keys = Keys { rows: Vec::new(), keys: Vec::new(), looks: Vec::new() };
    for row in rows {
        let NameKeys { key, look } = NameKeys::of(row.try_get(1)?);
        keys.rows.push(row.try_get(0)?);
        keys.keys.push(key);
        keys.looks.push(look);
    }
    Ok(keys)
}

/// Computes the keys of all names, some at a time, so that others can write meanwhile, and an interrupted run continues where
/// it stopped.
pub(super) async fn key_all(client: &mut Client, url: &str) -> Result<(), OpenError> {
    let mut total = 0;
    while let keyed @ 1.. = key_some(client).await.map_err(|cause| cause.open_error(url))? {
        total += keyed;
        crate::migration::log_keyed(total);
    }
    Ok(())
}

async fn key_some(client: &mut Client) -> Result<usize, Cause> {
    let transaction = client.transaction().await?;
    let rows = transaction.query(NAMES_LEFT, &[&AT_ONCE]).await?;
    if !rows.is_empty() {
        let keys = keys(&rows)?;
        transaction.execute(SET_KEYS, &[&keys.rows, &keys.keys, &keys.looks]).await?;
    }
    transaction.commit().await?;
    Ok(rows.len())
}
