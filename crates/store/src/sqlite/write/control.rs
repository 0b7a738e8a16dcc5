//! The control log, as the writer needs it.

use chatsphere_core::{ControlChange, ControlEntry, ControlPosition, Timestamp};

use super::SqliteWriter;
use crate::sqlite::rows;
use crate::write::database::ControlLog;
use crate::write::failure::Failure;

impl ControlLog for SqliteWriter {
    async fn add_control(&mut self, changes: &[(ControlChange, Timestamp)]) -> Result<Vec<ControlEntry>, Failure> {
        self.run(|connection| {
            let mut next = connection.prepare_cached("UPDATE control_head SET position = position + 1 RETURNING position")?;
            let mut insert =
                connection.prepare_cached("INSERT INTO control_log (position, kind, subject, at) VALUES (?1, ?2, ?3, ?4)")?;
            let mut entries = Vec::with_capacity(changes.len());
            for (change, at) in changes {
                let position = next.query_row([], |row| rows::count(row, 0))?;
                let (kind, subject) = crate::control::to_row(change);
                insert.execute((position.cast_signed(), kind, subject.as_bytes(), at.as_millis()))?;
                entries.push(ControlEntry { position: ControlPosition(position), change: *change });
            }
            Ok(entries)
        })
    }
}
