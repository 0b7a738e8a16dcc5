//! The reads of a SQLite file. Each function is one read, in one snapshot.

mod events;
mod history;
mod members;
pub(super) mod messages;
pub(super) mod rooms;
pub(super) mod tokens;
mod urgent;
mod users;
mod versions;

use chatsphere_core::store::RoomVersion;
use chatsphere_core::{Access, ControlPosition, RoomId, policy};
use rusqlite::{Connection, OptionalExtension, Result};

use super::readers::Stop;
use super::rows;

/// A room that may be read.
struct OpenRoom {
    id: RoomId,
    pk: i64,
    version: RoomVersion,
    /// The lanes that have messages and are shown: bit n for lane n.
    lanes: i64,
}

/// Returns the lanes among `lanes`, a bit mask, whose messages are shown.
fn shown_lanes(lanes: i64) -> impl Iterator<Item = i64> {
    (0..4).filter(move |lane| lanes >> lane & 1 == 1)
}

/// Finds the room, and checks the access in the same snapshot.
fn enter(connection: &Connection, id: RoomId, access: Access) -> Result<OpenRoom, Stop> {
    let reader = match access {
        Access::Member(user) => Some(*user.as_bytes()),
        Access::Any => None,
    };
    let found = connection
        .prepare_cached(
            "SELECT r.pk, r.seq,
                    EXISTS (SELECT 1 FROM users u JOIN members m ON m.user_pk = u.pk WHERE u.id = ?2 AND m.room_pk = r.pk),
                    (SELECT position FROM control_head), r.lanes & 15
             FROM rooms r WHERE r.id = ?1",
        )?
        .query_row((id.as_bytes(), reader), |row| {
            let version = RoomVersion { head: rows::seq(row, 1)?, control: ControlPosition(rows::count(row, 3)?) };
            Ok((OpenRoom { id, pk: row.get(0)?, version, lanes: row.get(4)? }, row.get::<_, bool>(2)?))
        })
        .optional()?;
    policy::may_enter(access, found.as_ref().map(|(_, member)| *member))?;
    // If the room does not exist, `may_enter` always returns an error.
    found.map(|(room, _)| room).ok_or(Stop::Refused(chatsphere_core::Error::Internal))
}

/// Returns the keys of those of these rooms that exist, as JSON for `json_each`.
fn room_pks(connection: &Connection, ids: &[RoomId]) -> Result<String> {
    let mut find = connection.prepare_cached("SELECT pk FROM rooms WHERE id = ?1")?;
    let mut pks: Vec<i64> = Vec::with_capacity(ids.len());
    for id in ids {
        pks.extend(find.query_row([id.as_bytes()], |row| row.get::<_, i64>(0)).optional()?);
    }
    serde_json::to_string(&pks).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Returns the user's key. If there is no such user, it is a key that no row has.
fn user_pk(connection: &Connection, id: chatsphere_core::UserId) -> Result<i64> {
    let pk = connection.prepare_cached("SELECT pk FROM users WHERE id = ?1")?.query_row([id.as_bytes()], |row| row.get(0));
    Ok(pk.optional()?.unwrap_or(-1))
}
