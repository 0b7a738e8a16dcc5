//! SQLite's tables, step by step.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::open_error;
use crate::error::OpenError;
use crate::migration::{Migration, left, newest, report};
use crate::open::MigrationReport;

const STEPS: &[Migration] = &[Migration { name: "tables", sql: include_str!("../../migrations/sqlite/0001_tables.sql") }];

/// Takes the steps that are left. Whoever starts at the same time waits, and finds nothing left.
pub(super) fn migrate(url: &str, connection: &mut Connection) -> Result<MigrationReport, OpenError> {
    let failed = |error: rusqlite::Error| open_error(url, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = version(url, &transaction)?;
    for (version, step) in left(STEPS, found)? {
        run(&transaction, version, step).map_err(|error| step_error(url, version, step, &error))?;
    }
    transaction.commit().map_err(failed)?;
    Ok(report(STEPS, found))
}

/// The version of the tables; 0 in an empty file. Refuses those of a newer program.
pub(super) fn found_version(url: &str, connection: &Connection) -> Result<u32, OpenError> {
    let found = version(url, connection)?;
    left(STEPS, found).map(|_| found)
}

/// The version to which this program brings the tables.
pub(super) fn newest_version() -> u32 {
    newest(STEPS)
}

/// The version of the tables; 0 in an empty file.
fn version(url: &str, connection: &Connection) -> Result<u32, OpenError> {
    let failed = |error: rusqlite::Error| open_error(url, &error);
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(failed)?;
    if tables.iter().any(|table| table == "schema_version") {
        let newest = "SELECT coalesce(max(version), 0) FROM schema_version";
        return connection.query_row(newest, [], |row| row.get(0)).map_err(failed);
    }
    match tables.first() {
        None => Ok(0),
        Some(table) => {
            let reason = format!("it is another program's SQLite file, with a table \"{table}\"");
            Err(OpenError::NotADatabase { url: url.to_owned(), reason })
        }
    }
}

fn run(transaction: &Transaction<'_>, version: u32, step: &Migration) -> rusqlite::Result<()> {
    if version == 1 {
        transaction.execute_batch("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")?;
    }
    transaction.execute_batch(step.sql)?;
    transaction.execute("INSERT INTO schema_version (version, name) VALUES (?1, ?2)", (version, step.name))?;
    Ok(())
}

fn step_error(url: &str, version: u32, step: &Migration, error: &rusqlite::Error) -> OpenError {
    match open_error(url, error) {
        OpenError::Failed { reason, .. } => OpenError::Migration { version, name: step.name, reason },
        other => other,
    }
}
