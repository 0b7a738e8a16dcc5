//! Idempotency records.

use chatsphere_core::Timestamp;
use chatsphere_core::store::IDEMPOTENCY_KEPT;
use tokio_postgres::Row;

use super::PostgresWriter;
use crate::postgres::failure::Cause;
use crate::postgres::rows;
use crate::write::database::Idempotencies;
use crate::write::failure::Failure;
use crate::write::{FoundRecord, IdempotencyRecord, Outcome};

pub(super) const FIND_RECORDS: &str = "SELECT key, body, outcome, at FROM idempotency WHERE key = ANY ($1)";
/// Inserts in the order of the keys, as every node does, so that nodes can't deadlock. If a key exists and has not expired,
/// another node inserted it after it was looked up. It is left as it is, and missing in the number of changed rows.
const INSERT_RECORDS: &str = "INSERT INTO idempotency (key, body, outcome, at)
    SELECT key, body, outcome, at
    FROM UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::bigint[]) AS new (key, body, outcome, at)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET body = excluded.body, outcome = excluded.outcome, at = excluded.at
    WHERE idempotency.at < excluded.at - $5::bigint";
/// Skips rows that another node is removing.
const FORGET: &str = "DELETE FROM idempotency WHERE key = ANY (ARRAY(
    SELECT key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))";

impl Idempotencies for PostgresWriter {
    async fn find_record(&mut self, key: &[u8; 32]) -> Result<Option<FoundRecord>, Failure> {
        let found = self.query(FIND_RECORDS, &[&vec![key.to_vec()]]).await?;
        let record = self.read(found.first().map(found_record).transpose())?;
        Ok(record.map(|(_, record)| record))
    }

    async fn insert_records(&mut self, records: &[IdempotencyRecord]) -> Result<(), Failure> {
        let keys: Vec<&[u8]> = records.iter().map(|record| record.idempotency.key.as_slice()).collect();
        let bodies: Vec<&[u8]> = records.iter().map(|record| record.idempotency.body.as_slice()).collect();
        let outcomes: Result<Vec<String>, _> = records.iter().map(|record| record.outcome.to_json()).collect();
        let outcomes = self.read(outcomes.map_err(|_| Cause::Foreign("no outcome")))?;
        let times: Vec<i64> = records.iter().map(|record| record.at.as_millis()).collect();
        let kept = i64::try_from(IDEMPOTENCY_KEPT.as_millis()).unwrap_or(i64::MAX);
        let stored = self
            .run(|session| async move { session.change(INSERT_RECORDS, &[&keys, &bodies, &outcomes, &times, &kept]).await })
            .await?;
        if usize::try_from(stored) == Ok(records.len()) { Ok(()) } else { Err(Failure::Conflict) }
    }

    async fn forget(&mut self, before: Timestamp, limit: usize) -> Result<(), Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(FORGET, &[&before.as_millis(), &limit]).await.map(drop)
    }
}

pub(super) fn found_record(row: &Row) -> Result<([u8; 32], FoundRecord), Cause> {
    let hash = |column| <[u8; 32]>::try_from(row.try_get::<_, &[u8]>(column)?).map_err(|_| Cause::Foreign("no SHA-256"));
    let outcome = Outcome::from_json(row.try_get(2)?);
    Ok((hash(0)?, FoundRecord { body: hash(1)?, outcome, at: rows::time(row, 3)? }))
}
