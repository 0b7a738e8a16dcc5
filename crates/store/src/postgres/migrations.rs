//! PostgreSQL's migrations.

use tokio_postgres::error::SqlState;
use tokio_postgres::{GenericClient, Transaction};

use super::failure::Cause;
use crate::error::OpenError;
use crate::migration::{Migration, left, newest, report};
use crate::open::MigrationReport;

const STEPS: &[Migration] = &[
    Migration { name: "tables", sql: include_str!("../../migrations/postgres/0001_tables.sql") },
    Migration { name: "nothing", sql: include_str!("../../migrations/postgres/0002_nothing.sql") },
    Migration { name: "names", sql: include_str!("../../migrations/postgres/0003_names.sql") },
    Migration { name: "stored bytes", sql: include_str!("../../migrations/postgres/0004_stored_bytes.sql") },
    Migration { name: "bodies of events", sql: include_str!("../../migrations/postgres/0005_bodies_of_events.sql") },
    Migration { name: "changes of messages", sql: include_str!("../../migrations/postgres/0006_changes_of_messages.sql") },
    Migration { name: "chat", sql: include_str!("../../migrations/postgres/0007_chat.sql") },
    Migration { name: "key of contents", sql: include_str!("../../migrations/postgres/0008_content_key.sql") },
];
/// The oldest server with which this adapter is tested, as `server_version_num`.
const OLDEST_SERVER: i32 = 150_000;
/// Names of the first migration's tables. If one of them exists without `schema_version`, it belongs to another program.
const OURS: &[&str] = &[
    "installation",
    "users",
    "tokens",
    "rooms",
    "members",
    "messages",
    "room_events",
    "control_log",
    "control_head",
    "idempotency",
];

/// Tables of the Node.js version, which Prisma created. If one of them exists without `schema_version`, the database is that
/// version's.
const FIRST_VERSION: &[&str] = &["User", "Room", "Message", "ApiToken", "_RoomUsers", "_prisma_migrations"];

/// Why a migration was not completed.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// Other transactions use the tables that this migration changes, for longer than it may wait.
    Locked(&'static Migration),
    /// A retry would not help.
    Failed(OpenError),
}

impl From<OpenError> for Unfinished {
    fn from(error: OpenError) -> Self {
        Self::Failed(error)
    }
}

/// Runs the remaining migrations, within a transaction that holds the start-up lock.
pub(super) async fn migrate(url: &str, transaction: &Transaction<'_>) -> Result<MigrationReport, Unfinished> {
    check_server(url, transaction).await?;
    let found = version(url, transaction).await?;
    if (1..newest(STEPS)).contains(&found) {
        lock_tables(url, transaction).await?;
    }
    for (version, step) in left(STEPS, found)? {
        run(transaction, version, step).await.map_err(|error| unfinished(url, version, step, error))?;
    }
    Ok(report(STEPS, found))
}

/// Locks all large tables at once, in the order in which a writer locks them. Steps that lock one after the other would
/// deadlock with writers of earlier nodes.
async fn lock_tables(url: &str, transaction: &Transaction<'_>) -> Result<(), Unfinished> {
    let sql = "LOCK TABLE rooms, users, members, messages, room_events IN ACCESS EXCLUSIVE MODE";
    match (transaction.batch_execute(sql).await, STEPS.last()) {
        (Err(error), Some(step)) => Err(unfinished(url, newest(STEPS), step, error)),
        _ => Ok(()),
    }
}

/// Returns the schema version; 0 if there are no tables. Rejects a server that is too old, and tables of a newer program.
pub(super) async fn found_version(url: &str, transaction: &Transaction<'_>) -> Result<u32, OpenError> {
    check_server(url, transaction).await?;
    let found = version(url, transaction).await?;
    left(STEPS, found).map(|_| found)
}

/// Returns the schema version to which this program migrates.
pub(super) fn newest_version() -> u32 {
    newest(STEPS)
}

async fn check_server(url: &str, transaction: &Transaction<'_>) -> Result<(), OpenError> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                      current_setting('server_encoding'), current_schema()::text";
    let row = transaction.query_one(sql, &[]).await.map_err(|error| Cause::from(error).open_error(url))?;
    let get = |column| row.try_get::<_, Option<String>>(column).map_err(|error| Cause::from(error).open_error(url));
    let number: i32 = row.try_get(0).map_err(|error| Cause::from(error).open_error(url))?;
    if number < OLDEST_SERVER {
        return Err(OpenError::TooOldServer { found: get(1)?.unwrap_or_default() });
    }
    let failed = |reason: String| Err(OpenError::Failed { url: url.to_owned(), reason });
    match get(2)?.as_deref() {
        Some("UTF8") => {}
        other => {
            let encoding = other.unwrap_or_default();
            return failed(format!(
                "its encoding is {encoding}, which can't hold every message\nmake it anew with ENCODING 'UTF8'"
            ));
        }
    }
    if get(3)?.is_none() {
        return failed(
            "the schema that it is to use does not exist\ncheck `schema` in DATABASE_URL, or make the schema".to_owned(),
        );
    }
    Ok(())
}

/// Returns the schema version; 0 if there are no tables.
pub(super) async fn version(url: &str, client: &impl GenericClient) -> Result<u32, OpenError> {
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY ($1)";
    let names: Vec<&str> = OURS.iter().chain(FIRST_VERSION).copied().chain(["schema_version"]).collect();
    let found = client.query(tables, &[&names]).await.map_err(failed)?;
    let found: Vec<String> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)?;
    if found.iter().any(|table| table == "schema_version") {
        let newest = "SELECT coalesce(max(version), 0) FROM schema_version";
        let row = client.query_one(newest, &[]).await.map_err(failed)?;
        let version: i32 = row.try_get(0).map_err(failed)?;
        return Ok(u32::try_from(version).unwrap_or_default());
    }
    if let Some(table) = FIRST_VERSION.iter().find(|name| found.iter().any(|table| table == *name)) {
        return Err(OpenError::FirstVersion { url: url.to_owned(), table: (*table).to_owned() });
    }
    match found.first() {
        None => Ok(0),
        Some(table) => {
            let reason = format!("it has another program's table \"{table}\"; another schema can be named with ?schema=…");
            Err(OpenError::NotADatabase { url: url.to_owned(), reason })
        }
    }
}

async fn run(transaction: &Transaction<'_>, version: u32, step: &Migration) -> Result<(), tokio_postgres::Error> {
    if version == 1 {
        transaction.batch_execute("CREATE TABLE schema_version (version int PRIMARY KEY, name text NOT NULL)").await?;
    }
    transaction.batch_execute(step.sql).await?;
    let version = i32::try_from(version).unwrap_or(i32::MAX);
    transaction.execute("INSERT INTO schema_version (version, name) VALUES ($1, $2)", &[&version, &step.name]).await.map(drop)
}

/// Why a step, or what has to come before it, was not taken.
pub(super) fn unfinished(url: &str, version: u32, step: &'static Migration, error: tokio_postgres::Error) -> Unfinished {
    match error.code() {
        // A node of the earlier version may hold one table and wait for another, in the other order than this step.
        Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED) => Unfinished::Locked(step),
        _ => Unfinished::Failed(step_error(url, version, step, error)),
    }
}

fn step_error(url: &str, version: u32, step: &Migration, error: tokio_postgres::Error) -> OpenError {
    match Cause::from(error).open_error(url) {
        OpenError::Failed { reason, .. } => OpenError::Migration { version, name: step.name, reason },
        other => other,
    }
}
