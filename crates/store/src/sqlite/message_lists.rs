//! The migration that builds the lists by which messages are found, from the indexes that had this purpose before.
//!
//! Each index has the order of its list, so entries are appended to the list, some at a time. So each transaction and the log
//! stay small, however many messages there are. After an interruption the migration continues behind the last entry.

use rusqlite::{OptionalExtension, Result, Transaction};

use crate::pages::rows;

/// The entries of a list that one transaction adds.
#[cfg(not(test))]
const AT_ONCE: usize = 50_000;
#[cfg(test)]
const AT_ONCE: usize = 2;

/// The author of the last entry may have more messages. They have a statement of their own, because SQLite uses the index for
/// the row's key only in this form.
const SAME_AUTHOR: &str = "INSERT INTO messages_by_author
    SELECT user_pk, pk FROM messages INDEXED BY messages_author WHERE user_pk = ?1 AND pk > ?2 ORDER BY pk LIMIT ?3";
const NEXT_AUTHORS: &str = "INSERT INTO messages_by_author
    SELECT user_pk, pk FROM messages INDEXED BY messages_author WHERE user_pk > ?1 ORDER BY user_pk, pk LIMIT ?2";
const NEXT_CLIENT_IDS: &str = "INSERT INTO messages_by_client_id
    SELECT user_pk, room_pk, client_message_id, pk FROM messages INDEXED BY messages_client_id
    WHERE client_message_id IS NOT NULL AND (user_pk, room_pk, client_message_id) > (?1, ?2, ?3)
    ORDER BY user_pk, room_pk, client_message_id LIMIT ?4";

/// Continues the migration. `tables` creates its tables. Returns the number of added entries if another transaction must
/// continue, and `None` at the end.
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

/// Whether the lists exist and are complete up to their last entries. If an earlier program has added messages since, the lists
/// are dropped and built again.
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
