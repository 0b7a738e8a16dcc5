//! Builds the index that a step needs over all messages, before that step and while nodes of the earlier version serve.
//!
//! `CREATE INDEX CONCURRENTLY` runs outside a transaction. A build that was interrupted leaves an invalid index behind, which
//! is dropped and built again.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::{Client, Error};

use super::connect::Connector;
use super::failure::Cause;
use super::migrations::{self, Unfinished};
use crate::migration::Migration;

/// The step that needs the index.
const STEP: &Migration = &Migration { name: "changes of messages", sql: BUILD };
/// The version to which it leads.
const VERSION: u32 = 6;
/// One node builds, the others ask again. Waiting for a lock within a statement would make the build wait for the statement.
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(4846791580151137092)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(4846791580151137092)";
const PAUSE: Duration = Duration::from_secs(2);
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Whether the index is there and complete; nothing if it is not there.
const FOUND: &str = "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relname = 'messages_lane' AND c.relnamespace = current_schema()::regnamespace";
const DROP_INVALID: &str = "DROP INDEX CONCURRENTLY messages_lane";
/// The column is added in an instant, since its default is a constant.
const ADD_COLUMN: &str =
    "SET lock_timeout = '2s'; ALTER TABLE messages ADD COLUMN IF NOT EXISTS lane smallint NOT NULL DEFAULT 0;
    SET lock_timeout = 0;";
const BUILD: &str = "CREATE UNIQUE INDEX CONCURRENTLY messages_lane ON messages (room_pk, lane, seq) INCLUDE (user_pk)";
const PROGRESS: &str = "SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index
    WHERE relid = 'messages'::regclass LIMIT 1";

/// Builds the index unless the tables are new, or have it already. Waits for a node that is building it.
pub(super) async fn build(connector: &Connector, client: &Client, url: &str) -> Result<(), Unfinished> {
    let failed = |error: Error| Cause::from(error).open_error(url);
    loop {
        if !(1..VERSION).contains(&migrations::version(url, client).await?) {
            return Ok(());
        }
        if client.query_one(TRY_LOCK, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)? {
            break;
        }
        tracing::info!("another node is building an index over all messages; waiting for it");
        tokio::time::sleep(PAUSE).await;
    }
    let built = build_alone(connector, client).await;
    // After a broken connection the unlock fails too; the first error says why.
    let unlocked = client.batch_execute(UNLOCK).await.map_err(failed);
    built.map_err(|error| migrations::unfinished(url, VERSION, STEP, error))?;
    Ok(unlocked?)
}

async fn build_alone(connector: &Connector, client: &Client) -> Result<(), Error> {
    match client.query_opt(FOUND, &[]).await?.map(|row| row.try_get(0)).transpose()? {
        Some(true) => return Ok(()),
        Some(false) => client.batch_execute(DROP_INVALID).await?,
        None => {}
    }
    client.batch_execute(ADD_COLUMN).await?;
    tracing::info!("building an index over all messages; nodes of the earlier version serve meanwhile");
    tokio::select! {
        built = client.batch_execute(BUILD) => built,
        never = log_progress(connector) => match never {},
    }
}

/// Logs how far the build is. It waits for transactions that began before it, so a long one shows here too.
async fn log_progress(connector: &Connector) -> std::convert::Infallible {
    let mut ticks = interval(LOG_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let client = connector.for_looking().await.ok();
    loop {
        ticks.tick().await;
        let Some(client) = &client else { continue };
        if let Ok(Some(row)) = client.query_opt(PROGRESS, &[]).await {
            let phase: Option<String> = row.try_get(0).ok();
            let (done, total): (Option<i64>, Option<i64>) = (row.try_get(1).ok(), row.try_get(2).ok());
            tracing::info!(phase, done, total, "building an index over all messages");
        }
    }
}
