//! Computes the keys of names that were stored before names had keys. SQL can't compute them.

use rusqlite::{Connection, TransactionBehavior};

use super::write::key_names;

/// The number of rows in one transaction.
const AT_ONCE: usize = 5_000;

/// Computes the keys of all names, some at a time, so that others can write meanwhile, and an interrupted run continues where
/// it stopped.
pub(super) fn key_all(connection: &mut Connection) -> rusqlite::Result<()> {
    let mut total = 0;
    loop {
        if !connection.prepare("SELECT 1 FROM users WHERE name_key IS NULL")?.exists([])? {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        total += key_names(&transaction, AT_ONCE)?;
        transaction.commit()?;
        crate::migration::log_keyed(total);
    }
}
