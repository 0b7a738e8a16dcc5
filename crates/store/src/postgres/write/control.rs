//! The writer's access to the control log.

use chatsphere_core::{ControlChange, Timestamp};
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
const FORGET: &str =
    "DELETE FROM control_log WHERE position = ANY (ARRAY(SELECT position FROM control_log ORDER BY position LIMIT $3))
    AND position <= (SELECT position FROM control_head) - $2::bigint AND at < $1";

impl ControlLog for PostgresWriter {
    async fn add_control(&mut self, changes: &[(ControlChange, Timestamp)]) -> Result<(), Failure> {
        let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let head = self.query(NEXT, &[&count]).await?;
        let head = self.read(head.first().map_or(Err(Cause::Foreign("no position")), |row| rows::count(row, 0)))?;
        let first = head + 1 - count.unsigned_abs();
        let positions: Vec<i64> = (first..=head).map(u64::cast_signed).collect();
        let (kinds, subjects): (Vec<&str>, Vec<Uuid>) = changes.iter().map(|(change, _)| to_row(change)).unzip();
        let times: Vec<i64> = changes.iter().map(|(_, at)| at.as_millis()).collect();
        self.run(|session| async move { session.change(INSERT, &[&positions, &kinds, &subjects, &times]).await })
            .await
            .map(drop)
    }

    async fn forget_control(&mut self, before: Timestamp, spared: u64, limit: usize) -> Result<(), Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(FORGET, &[&before.as_millis(), &spared.cast_signed(), &limit]).await.map(drop)
    }
}
