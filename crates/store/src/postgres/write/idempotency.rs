//! Remembered answers.

use chatsphere_core::Timestamp;
use chatsphere_core::store::IDEMPOTENCY_KEPT;
use tokio_postgres::Row;

use super::PostgresWriter;
use crate::postgres::failure::Cause;
use crate::postgres::rows;
use crate::write::database::Idempotencies;
use crate::write::failure::Failure;
use crate::write::{IdempotencyRecord, Outcome, Remembered};

pub(super) const RECALL: &str = "SELECT key, body, outcome, at FROM idempotency WHERE key = ANY ($1)";
/// In the order of the keys, as every node does. A key that is there and not expired came from another node after it was
/// looked for; it is left as it is, and counted as missing.
const REMEMBER: &str = "INSERT INTO idempotency (key, body, outcome, at)
    SELECT key, body, outcome, at FROM UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::bigint[]) AS new (key, body, outcome, at)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET body = excluded.body, outcome = excluded.outcome, at = excluded.at
    WHERE idempotency.at < excluded.at - $5::bigint";
/// Those that another node is removing are left to it.
const FORGET: &str = "DELETE FROM idempotency WHERE key = ANY (ARRAY(
    SELECT key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))";

impl Idempotencies for PostgresWriter {
    async fn recall(&mut self, key: &[u8; 32]) -> Result<Option<Remembered>, Failure> {
        let found = self.query(RECALL, &[&vec![key.to_vec()]]).await?;
        let remembered = self.read(found.first().map(remembered).transpose())?;
        Ok(remembered.map(|(_, remembered)| remembered))
    }

    async fn remember(&mut self, memories: &[IdempotencyRecord]) -> Result<(), Failure> {
        let keys: Vec<&[u8]> = memories.iter().map(|memory| memory.idempotency.key.as_slice()).collect();
        let bodies: Vec<&[u8]> = memories.iter().map(|memory| memory.idempotency.body.as_slice()).collect();
        let outcomes: Result<Vec<String>, _> = memories.iter().map(|memory| memory.outcome.to_json()).collect();
        let outcomes = self.read(outcomes.map_err(|_| Cause::Foreign("no outcome")))?;
        let times: Vec<i64> = memories.iter().map(|memory| memory.at.as_millis()).collect();
        let kept = i64::try_from(IDEMPOTENCY_KEPT.as_millis()).unwrap_or(i64::MAX);
        let stored = self
            .run(|session| async move { session.change(REMEMBER, &[&keys, &bodies, &outcomes, &times, &kept]).await })
            .await?;
        if usize::try_from(stored) == Ok(memories.len()) { Ok(()) } else { Err(Failure::Conflict) }
    }

    async fn forget(&mut self, before: Timestamp, limit: usize) -> Result<(), Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(FORGET, &[&before.as_millis(), &limit]).await.map(drop)
    }
}

pub(super) fn remembered(row: &Row) -> Result<([u8; 32], Remembered), Cause> {
    let hash = |column| <[u8; 32]>::try_from(row.try_get::<_, &[u8]>(column)?).map_err(|_| Cause::Foreign("no SHA-256"));
    let outcome = Outcome::from_json(row.try_get(2)?);
    Ok((hash(0)?, Remembered { body: hash(1)?, outcome, at: rows::time(row, 3)? }))
}
