//! SQLite's tables, step by step.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::open_error;
use crate::error::OpenError;
use crate::migration::{Migration, left, newest, report};
use crate::open::MigrationReport;

const STEPS: &[Migration] = &[
    Migration { name: "tables", sql: include_str!("../../migrations/sqlite/0001_tables.sql") },
    Migration { name: "lists of messages", sql: include_str!("../../migrations/sqlite/0002_lists_of_messages.sql") },
    Migration { name: "names", sql: include_str!("../../migrations/sqlite/0003_names.sql") },
    Migration { name: "stored bytes", sql: include_str!("../../migrations/sqlite/0004_stored_bytes.sql") },
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connection;

    #[test]
    fn messages_from_before_are_in_the_lists() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = connection::open(&dir.path().join("chat.db")).unwrap();
        let transaction = connection.transaction().unwrap();
        run(&transaction, 1, &STEPS[0]).unwrap();
        transaction
            .execute_batch(
                "INSERT INTO users VALUES (1, x'01', 'ada', 'MEMBER', 0, 0, 0), (2, x'02', 'bob', 'MEMBER', 0, 0, 0);
                 INSERT INTO rooms VALUES (1, x'01', 'room', 1, 3, 3, 2, 0, 0);
                 INSERT INTO messages VALUES
                     (5, x'01', 1, 1, 1, 'a', 'one', 0, 0),
                     (6, x'02', 1, 2, 2, 'b', NULL, 0, 0),
                     (9, x'03', 1, 3, 1, 'c', 'two', 0, 0);",
            )
            .unwrap();
        transaction.commit().unwrap();
        let report = migrate("test", &mut connection).unwrap();
        assert_eq!((report.from, report.to), (1, newest_version()));
        let all = |sql: &str| -> String {
            connection.query_row(&format!("SELECT group_concat(line, ' ') FROM ({sql})"), (), |row| row.get(0)).unwrap()
        };
        assert_eq!(all("SELECT user_pk || '-' || message_pk AS line FROM messages_by_author"), "1-5 1-9 2-6");
        let by_client_id = "SELECT user_pk || '-' || client_message_id || '-' || message_pk AS line FROM messages_by_client_id";
        assert_eq!(all(by_client_id), "1-one-5 1-two-9");
        assert_eq!(all("SELECT up_to AS line FROM messages_listed"), "9");
    }
}
