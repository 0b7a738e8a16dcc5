//! Reading the control log.

use chatsphere_core::{ControlEntry, ControlPosition, Error};
use tokio_postgres::Row;

use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows;
use crate::{control, pages};

pub(in crate::postgres) const AFTER: &str =
    "SELECT position, kind, subject FROM control_log WHERE position > $1 ORDER BY position LIMIT $2";

pub(in crate::postgres) async fn after(
    reads: &Reads,
    after: ControlPosition,
    limit: usize,
) -> Result<Vec<ControlEntry>, Error> {
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    reads
        .read(AFTER, &[&after, &pages::rows(limit)], |found| Ok(Ok(found.iter().map(entry).collect::<Result<_, Cause>>()?)))
        .await
}

pub(in crate::postgres) fn entry(row: &Row) -> Result<ControlEntry, Cause> {
    control::from_row(rows::count(row, 0)?, row.try_get(1)?, row.try_get(2)?).ok_or(Cause::Foreign("no kind of control entry"))
}

pub(in crate::postgres) async fn head(reads: &Reads) -> Result<ControlPosition, Error> {
    reads
        .read("SELECT position FROM control_head", &[], |found| {
            let position = found.first().map_or(Err(Cause::Foreign("no position")), |row| rows::count(row, 0))?;
            Ok(Ok(ControlPosition(position)))
        })
        .await
}
