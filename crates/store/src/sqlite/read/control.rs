//! Reading the control log.

use chatsphere_core::{ControlEntry, ControlPosition};
use rusqlite::types::Type;
use rusqlite::{Connection, Error};
use uuid::Uuid;

use crate::sqlite::readers::Stop;
use crate::sqlite::rows;
use crate::{control, pages};

pub(in crate::sqlite) fn after(
    connection: &Connection,
    after: ControlPosition,
    limit: usize,
) -> Result<Vec<ControlEntry>, Stop> {
    let entries = connection
        .prepare_cached("SELECT position, kind, subject FROM control_log WHERE position > ?1 ORDER BY position LIMIT ?2")?
        .query_map((i64::try_from(after.0).unwrap_or(i64::MAX), pages::rows(limit)), |row| {
            let subject = Uuid::from_bytes(row.get(2)?);
            control::from_row(rows::count(row, 0)?, row.get_ref(1)?.as_str()?, subject)
                .ok_or_else(|| Error::FromSqlConversionFailure(1, Type::Text, "no kind of control entry".into()))
        })?
        .collect::<Result<_, _>>()?;
    Ok(entries)
}

pub(in crate::sqlite) fn head(connection: &Connection) -> Result<ControlPosition, Stop> {
    let position = connection.prepare_cached("SELECT position FROM control_head")?.query_row([], |row| rows::count(row, 0))?;
    Ok(ControlPosition(position))
}
