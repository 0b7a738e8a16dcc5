//! The writer's access to the control log.

use chatsphere_core::{ControlChange, Timestamp};

use super::SqliteWriter;
use crate::sqlite::rows;
use crate::write::database::ControlLog;
use crate::write::failure::Failure;

impl ControlLog for SqliteWriter {
    async fn add_control(&mut self, changes: &[(ControlChange, Timestamp)]) -> Result<(), Failure> {
        self.run(|connection| {
            let mut next = connection.prepare_cached("UPDATE control_head SET position = position + 1 RETURNING position")?;
            let mut insert =
                connection.prepare_cached("INSERT INTO control_log (position, kind, subject, at) VALUES (?1, ?2, ?3, ?4)")?;
            for (change, at) in changes {
                let position = next.query_row([], |row| rows::count(row, 0))?;
                let (kind, subject) = crate::control::to_row(change);
                insert.execute((position.cast_signed(), kind, subject.as_bytes(), at.as_millis()))?;
            }
            Ok(())
        })
    }

    async fn forget_control(&mut self, before: Timestamp, spared: u64, limit: usize) -> Result<(), Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "DELETE FROM control_log WHERE position IN (SELECT position FROM control_log ORDER BY position LIMIT ?3)
                       AND position <= (SELECT position FROM control_head) - ?2 AND at < ?1",
                )?
                .execute((before.as_millis(), spared.cast_signed(), i64::try_from(limit).unwrap_or(i64::MAX)))
                .map(drop)
        })
    }
}
