//! SQLite's migrations.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::open_error;
use super::message_lists;
use crate::error::OpenError;
use crate::migration::{Migration, left, newest, report};
use crate::open::MigrationReport;

const STEPS: &[Migration] = &[
    Migration { name: "tables", sql: include_str!("../../migrations/sqlite/0001_tables.sql") },
    Migration { name: "lists of messages", sql: include_str!("../../migrations/sqlite/0002_lists_of_messages.sql") },
    Migration { name: "names", sql: include_str!("../../migrations/sqlite/0003_names.sql") },
    Migration { name: "stored bytes", sql: include_str!("../../migrations/sqlite/0004_stored_bytes.sql") },
    Migration { name: "bodies of events", sql: include_str!("../../migrations/sqlite/0005_bodies_of_events.sql") },
    Migration { name: "changes of messages", sql: include_str!("../../migrations/sqlite/0006_changes_of_messages.sql") },
    Migration { name: "chat", sql: include_str!("../../migrations/sqlite/0007_chat.sql") },
    Migration { name: "key of contents", sql: include_str!("../../migrations/sqlite/0008_content_key.sql") },
];
/// The schema version after the migration of the message lists.
const LISTS: u32 = 2;
/// The interval of log lines about a long migration.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Steps of SQLite's virtual machine between two looks at the clock: some milliseconds of work.
const PROGRESS_STEPS: std::ffi::c_int = 1_000_000;

/// Runs the remaining migrations, in one transaction unless there is much to do. Another process that starts at the same time
/// waits, and then continues with the rest, if any.
pub(super) fn migrate(url: &str, connection: &mut Connection) -> Result<MigrationReport, OpenError> {
    let failed = |error: rusqlite::Error| open_error(url, &error);
    let (mut from, mut entries, mut logged) = (None, 0, Instant::now());
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let found = version(url, &transaction)?;
        let from = *from.get_or_insert(found);
        let unfinished = take_steps(url, &transaction, found)?;
        transaction.commit().map_err(failed)?;
        let Some((step, more)) = unfinished else { return Ok(report(STEPS, from)) };
        entries += more;
        if logged.elapsed() >= LOG_EVERY {
            tracing::info!(step, entries, "bringing the tables up to date");
            logged = Instant::now();
        }
    }
}

/// Runs migrations until all are done, or one must continue in another transaction. Returns the name of that one, and how much
/// of it was done.
fn take_steps(url: &str, transaction: &Transaction<'_>, found: u32) -> Result<Option<(&'static str, usize)>, OpenError> {
    for (version, step) in left(STEPS, found)? {
        let done = run(transaction, version, step).map_err(|error| step_error(url, version, step, &error))?;
        if let Some(entries) = done {
            return Ok(Some((step.name, entries)));
        }
    }
    Ok(None)
}

/// Returns the schema version; 0 in an empty file. Rejects tables of a newer program.
pub(super) fn found_version(url: &str, connection: &Connection) -> Result<u32, OpenError> {
    let found = version(url, connection)?;
    left(STEPS, found).map(|_| found)
}

/// Returns the schema version to which this program migrates.
pub(super) fn newest_version() -> u32 {
    newest(STEPS)
}

/// Returns the schema version; 0 in an empty file.
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

/// Runs a migration. If another transaction must continue it, returns how much was done.
fn run(transaction: &Transaction<'_>, version: u32, step: &Migration) -> rusqlite::Result<Option<usize>> {
    if version == 1 {
        transaction.execute_batch("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")?;
    }
    if version == LISTS {
        if let Some(entries) = message_lists::go_on(transaction, step.sql)? {
            return Ok(Some(entries));
        }
    } else {
        log_progress(transaction, step.name)?;
        let done = transaction.execute_batch(step.sql);
        transaction.progress_handler(0, None::<fn() -> bool>)?;
        done?;
    }
    transaction.execute("INSERT INTO schema_version (version, name) VALUES (?1, ?2)", (version, step.name))?;
    Ok(None)
}

/// Logs, while statements take long, that the migration is still at work.
fn log_progress(connection: &Connection, step: &'static str) -> rusqlite::Result<()> {
    let (began, mut logged) = (Instant::now(), Instant::now());
    let log = move || {
        if logged.elapsed() >= LOG_EVERY {
            tracing::info!(step, seconds = began.elapsed().as_secs(), "bringing the tables up to date");
            logged = Instant::now();
        }
        false
    };
    connection.progress_handler(PROGRESS_STEPS, Some(log))
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

    /// Makes a database of schema version 1 with some messages. A few more than one transaction handles have a
    /// `clientMessageId`.
    fn first_version(path: &std::path::Path) -> Connection {
        let mut connection = connection::open(&path.join("chat.db")).unwrap();
        let transaction = connection.transaction().unwrap();
        run(&transaction, 1, &STEPS[0]).unwrap();
        transaction
            .execute_batch(
                "INSERT INTO users VALUES (1, x'01', 'ada', 'MEMBER', 0, 0, 0), (2, x'02', 'bob', 'MEMBER', 0, 0, 0);
                 INSERT INTO rooms VALUES (1, x'01', 'room', 1, 6, 5, 1, 0, 0);
                 INSERT INTO room_events VALUES (1, 1, 'member_joined', 1, 1, 0);
                 INSERT INTO messages VALUES
                     (5, x'01', 1, 2, 1, 'a', 'one', 0, 0),
                     (6, x'02', 1, 3, 2, 'b', NULL, 0, 0),
                     (7, x'03', 1, 4, 2, 'b', 'three', 0, 0),
                     (8, x'04', 1, 5, 1, 'b', NULL, 0, 0),
                     (9, x'05', 1, 6, 1, 'c', 'two', 0, 0);",
            )
            .unwrap();
        transaction.commit().unwrap();
        connection
    }

    fn all(connection: &Connection, sql: &str) -> String {
        connection.query_row(&format!("SELECT group_concat(line, ' ') FROM ({sql})"), (), |row| row.get(0)).unwrap()
    }

    const BY_AUTHOR: &str = "SELECT user_pk || '-' || message_pk AS line FROM messages_by_author";
    const BY_CLIENT_ID: &str =
        "SELECT user_pk || '-' || client_message_id || '-' || message_pk AS line FROM messages_by_client_id";
    const UP_TO: &str = "SELECT up_to AS line FROM messages_listed";

    /// Commits the part of the remaining migrations that one transaction handles.
    fn one_transaction(connection: &mut Connection) -> Option<(&'static str, usize)> {
        let transaction = connection.transaction().unwrap();
        let found = version("test", &transaction).unwrap();
        let unfinished = take_steps("test", &transaction, found).unwrap();
        transaction.commit().unwrap();
        unfinished
    }

    #[test]
    fn messages_from_before_are_in_the_lists() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = first_version(dir.path());
        let report = migrate("test", &mut connection).unwrap();
        assert_eq!((report.from, report.to), (1, newest_version()));
        assert_eq!(all(&connection, BY_AUTHOR), "1-5 1-8 1-9 2-6 2-7");
        assert_eq!(all(&connection, BY_CLIENT_ID), "1-one-5 1-two-9 2-three-7");
        assert_eq!(all(&connection, UP_TO), "9");
        let indexes = "SELECT name AS line FROM sqlite_schema WHERE name IN ('messages_author', 'messages_client_id')";
        assert!(!connection.prepare(indexes).unwrap().exists(()).unwrap());
    }

    #[test]
    fn entering_messages_goes_on_where_it_was_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = first_version(dir.path());
        for entered in ["1-5 1-8", "1-5 1-8 1-9 2-6"] {
            assert_eq!(one_transaction(&mut connection), Some(("lists of messages", 2)));
            assert_eq!(all(&connection, BY_AUTHOR), entered);
            assert_eq!(found_version("test", &connection).unwrap(), 1);
        }
        // A third of the list by author, and two of three `clientMessageId`s.
        assert_eq!(one_transaction(&mut connection), Some(("lists of messages", 2)));
        assert_eq!(one_transaction(&mut connection), None);
        assert_eq!(all(&connection, BY_AUTHOR), "1-5 1-8 1-9 2-6 2-7");
        assert_eq!(all(&connection, BY_CLIENT_ID), "1-one-5 1-two-9 2-three-7");
    }

    #[test]
    fn messages_that_an_earlier_program_added_meanwhile_are_listed_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = first_version(dir.path());
        one_transaction(&mut connection);
        one_transaction(&mut connection);
        connection.execute("INSERT INTO messages VALUES (10, x'06', 1, 7, 1, 'd', 'four', 0, 0)", ()).unwrap();
        migrate("test", &mut connection).unwrap();
        assert_eq!(all(&connection, BY_AUTHOR), "1-5 1-8 1-9 1-10 2-6 2-7");
        assert_eq!(all(&connection, BY_CLIENT_ID), "1-four-10 1-one-5 1-two-9 2-three-7");
        assert_eq!(all(&connection, UP_TO), "10");
    }

    #[test]
    fn events_from_before_have_no_body() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = first_version(dir.path());
        migrate("test", &mut connection).unwrap();
        let event = "SELECT kind || '-' || (message_pk IS NULL) || (body IS NULL) AS line FROM room_events";
        assert_eq!(all(&connection, event), "member_joined-11");
    }
}
