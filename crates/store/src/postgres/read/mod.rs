//! The reads of a PostgreSQL database. Each is one statement, and so one snapshot: a page is read together with the membership
//! that permits it.

mod events;
mod history;
mod members;
mod message_versions;
mod messages;
pub(super) mod rooms;
pub(super) mod tokens;
pub(super) mod urgent;
mod users;
pub(super) mod versions;

use chatsphere_core::store::RoomVersion;
use chatsphere_core::{Access, ControlPosition, Error, Seq, policy};
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Cause;
use super::rows;

/// Joins whether the user with id `$2` is a member of the room `r`: `member.yes` is true or null. The LIMIT makes the planner
/// look up this one row; with a plain join or EXISTS it may gather all rooms of the user.
macro_rules! join_membership {
    () => {
        " LEFT JOIN LATERAL (
            SELECT true AS yes FROM members WHERE user_pk = (SELECT pk FROM users WHERE id = $2) AND room_pk = r.pk LIMIT 1
        ) AS member ON true "
    };
}
/// Selects the room with id `$1`, and whether the user with id `$2` is a member; `$3` says that the membership does not matter.
/// `open` says whether the page may be read; if not, it is not read.
macro_rules! room_cte {
    () => {
        concat!(
            "WITH room AS MATERIALIZED (
                SELECT r.pk, r.seq, r.lanes, member.yes IS TRUE AS member, member.yes IS TRUE OR $3::boolean AS open
                FROM rooms r",
            crate::postgres::read::join_membership!(),
            "WHERE r.id = $1
            ) "
        )
    };
}
use join_membership;
use room_cte;

/// Returns `$2` and `$3` of [`room_cte`].
fn reader(access: Access) -> (Option<Uuid>, bool) {
    match access {
        Access::Member(user) => (Some(*user.as_uuid()), false),
        Access::Any => (None, true),
    }
}

/// Returns the room's head, if the room may be read, from rows that begin with the columns `seq` and `member` of [`room_cte`].
/// If the room exists, there is at least one row.
fn enter(found: &[Row], access: Access) -> Result<Result<Seq, Error>, Cause> {
    let Some(row) = found.first() else { return Ok(policy::may_enter(access, None).map(|()| Seq::ZERO)) };
    let head = rows::seq(row, 0)?;
    Ok(policy::may_enter(access, Some(row.try_get(1)?)).map(|()| head))
}

/// The same with the position of the control log, which is the next column.
fn enter_version(found: &[Row], access: Access) -> Result<Result<RoomVersion, Error>, Cause> {
    let control = found.first().map_or(Ok(0), |row| rows::count(row, 2))?;
    Ok(enter(found, access)?.map(|head| RoomVersion { head, control: ControlPosition(control) }))
}

/// Returns the rows of the page. An empty page is one row without a value in `column`.
fn page_rows(found: &[Row], column: usize) -> impl Iterator<Item = &Row> {
    found.iter().filter(move |row| matches!(row.try_get::<_, Option<i64>>(column), Ok(Some(_)) | Err(_)))
}
