//! Gives names from before they had keys theirs, which SQL can't compute.

use rusqlite::{Connection, TransactionBehavior};

use super::write::key_names;

/// Rows in one transaction.
const AT_ONCE: usize = 5_000;

/// Keys all names, some at a time, so that others can write meanwhile and whoever is interrupted goes on from there.
pub(super) fn key_all(connection: &mut Connection) -> rusqlite::Result<()> {
    let mut total = 0;
    loop {
        if !connection.prepare("SELECT 1 FROM users WHERE name_key IS NULL")?.exists([])? {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        total += key_names(&transaction, AT_ONCE)?;
        transaction.commit()?;
        crate::migration::tell_keyed(total);
    }
}
