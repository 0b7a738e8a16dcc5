//! Idempotency records.

use chatsphere_core::Timestamp;
use rusqlite::{Connection, Error, OptionalExtension, Result};

use super::SqliteWriter;
use crate::sqlite::rows;
use crate::write::database::Idempotencies;
use crate::write::failure::Failure;
use crate::write::{FoundRecord, IdempotencyRecord, Outcome};

impl Idempotencies for SqliteWriter {
    async fn find_record(&mut self, key: &[u8; 32]) -> Result<Option<FoundRecord>, Failure> {
        self.run(|connection| find_record(connection, key))
    }

    async fn insert_records(&mut self, records: &[IdempotencyRecord]) -> Result<(), Failure> {
        self.run(|connection| {
            // If the key exists nevertheless, it is an expired one.
            let mut insert = connection
                .prepare_cached("INSERT OR REPLACE INTO idempotency (key, body, outcome, at) VALUES (?1, ?2, ?3, ?4)")?;
            for record in records {
                let outcome = record.outcome.to_json().map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))?;
                insert.execute((&record.idempotency.key, &record.idempotency.body, outcome, record.at.as_millis()))?;
            }
            Ok(())
        })
    }

    async fn forget(&mut self, before: Timestamp, limit: usize) -> Result<(), Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE at < ?1 ORDER BY at LIMIT ?2)",
                )?
                .execute((before.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)))
                .map(drop)
        })
    }
}

pub(super) fn find_record(connection: &Connection, key: &[u8; 32]) -> Result<Option<FoundRecord>> {
    connection
        .prepare_cached("SELECT body, outcome, at FROM idempotency WHERE key = ?1")?
        .query_row([key], |row| {
            let outcome = Outcome::from_json(row.get_ref(1)?.as_str()?);
            Ok(FoundRecord { body: row.get(0)?, outcome, at: rows::time(row, 2)? })
        })
        .optional()
}
