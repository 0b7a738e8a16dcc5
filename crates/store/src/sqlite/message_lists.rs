//! The step that makes the lists by which messages are found, out of the indexes by which they were found before.
//!
//! Each index is in its list's order already, so entries are appended to the list some at a time. However many messages there
//! are, a transaction stays small, and so does the log. Whoever is interrupted goes on behind the last entry.

use rusqlite::{OptionalExtension, Result, Transaction};

use crate::pages::rows;

/// Entries of a list in one transaction.
#[cfg(not(test))]
const AT_ONCE: usize = 50_000;
#[cfg(test)]
const AT_ONCE: usize = 2;

/// The author with the last entry may have more. Apart from the others, since SQLite looks up the row's key only so.
const SAME_AUTHOR: &str = "INSERT INTO messages_by_author
    SELECT user_pk, pk FROM messages INDEXED BY messages_author WHERE user_pk = ?1 AND pk > ?2 ORDER BY pk LIMIT ?3";
const NEXT_AUTHORS: &str = "INSERT INTO messages_by_author
    SELECT user_pk, pk FROM messages INDEXED BY messages_author WHERE user_pk > ?1 ORDER BY user_pk, pk LIMIT ?2";
const NEXT_CLIENT_IDS: &str = "INSERT INTO messages_by_client_id
    SELECT user_pk, room_pk, client_message_id, pk FROM messages INDEXED BY messages_client_id
    WHERE client_message_id IS NOT NULL AND (user_pk, room_pk, client_message_id) > (?1, ?2, ?3)
    ORDER BY user_pk, room_pk, client_message_id LIMIT ?4";

/// Goes on with the step, `tables` being what makes its tables. How many entries were made if there is more to do, in another
/// transaction; `None` when it is done.
pub(super) fn go_on(transaction: &Transaction<'_>, tables: &str) -> Result<Option<usize>> {
    if !is_begun(transaction)? {
        transaction.execute_batch(tables)?;
    }
    let entered = enter_authors(transaction)?;
    if entered == AT_ONCE {
        return Ok(Some(entered));
    }
    let entered = enter_client_ids(transaction)?;
    if entered == AT_ONCE {
        return Ok(Some(entered));
    }
    transaction.execute_batch("DROP INDEX messages_author; DROP INDEX messages_client_id;")?;
    Ok(None)
}

/// Whether the lists are there, and whole up to their last entries. If an earlier program has added messages since, they are
/// removed, to be made anew.
fn is_begun(transaction: &Transaction<'_>) -> Result<bool> {
    if !transaction.table_exists(None, "messages_listed")? {
        return Ok(false);
    }
    let sql = "SELECT up_to = (SELECT coalesce(max(pk), 0) FROM messages) FROM messages_listed";
    let whole: bool = transaction.query_row(sql, (), |row| row.get(0))?;
    if !whole {
        let tables = "DROP TABLE messages_by_author; DROP TABLE messages_by_client_id; DROP TABLE messages_listed;";
        transaction.execute_batch(tables)?;
    }
    Ok(whole)
}

fn enter_authors(transaction: &Transaction<'_>) -> Result<usize> {
    let last = "SELECT user_pk, message_pk FROM messages_by_author ORDER BY user_pk DESC, message_pk DESC LIMIT 1";
    let last = transaction.query_row(last, (), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (user_pk, pk): (i64, i64) = last.unwrap_or((i64::MIN, i64::MIN));
    let same = transaction.execute(SAME_AUTHOR, (user_pk, pk, rows(AT_ONCE)))?;
    Ok(same + transaction.execute(NEXT_AUTHORS, (user_pk, rows(AT_ONCE - same)))?)
}

fn enter_client_ids(transaction: &Transaction<'_>) -> Result<usize> {
    let last = "SELECT user_pk, room_pk, client_message_id FROM messages_by_client_id
        ORDER BY user_pk DESC, room_pk DESC, client_message_id DESC LIMIT 1";
    let last = transaction.query_row(last, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let (user_pk, room_pk, client_id): (i64, i64, String) = last.unwrap_or((i64::MIN, i64::MIN, String::new()));
    transaction.execute(NEXT_CLIENT_IDS, (user_pk, room_pk, client_id, rows(AT_ONCE)))
}
