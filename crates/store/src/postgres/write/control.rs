//! The control log, as the writer needs it.

use chatsphere_core::{ControlChange, ControlEntry, ControlPosition, Timestamp};
use uuid::Uuid;

use super::PostgresWriter;
use crate::control::to_row;
use crate::postgres::failure::Cause;
use crate::postgres::rows;
use crate::write::database::ControlLog;
use crate::write::failure::Failure;

const NEXT: &str = "UPDATE control_head SET position = position + $1 RETURNING position";
const INSERT: &str = "INSERT INTO control_log (position, kind, subject, at)
    SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::uuid[], $4::bigint[])";

impl ControlLog for PostgresWriter {
    async fn add_control(&mut self, changes: &[(ControlChange, Timestamp)]) -> Result<Vec<ControlEntry>, Failure> {
        let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let head = self.query(NEXT, &[&count]).await?;
        let head = self.read(head.first().map_or(Err(Cause::Foreign("no position")), |row| rows::count(row, 0)))?;
        let first = head + 1 - count.unsigned_abs();
        let positions: Vec<i64> = (first..=head).map(u64::cast_signed).collect();
        let (kinds, subjects): (Vec<&str>, Vec<Uuid>) = changes.iter().map(|(change, _)| to_row(change)).unzip();
        let times: Vec<i64> = changes.iter().map(|(_, at)| at.as_millis()).collect();
        self.run(|session| async move { session.change(INSERT, &[&positions, &kinds, &subjects, &times]).await }).await?;
        let entry = |(position, (change, _)): (u64, &(ControlChange, Timestamp))| ControlEntry {
            position: ControlPosition(position),
            change: *change,
        };
        Ok((first..=head).zip(changes).map(entry).collect())
    }
}
