//! Reads that decide about access, or about whether a node is up to date.

use async_trait::async_trait;
use chatsphere_core::store::{RoomRelation, UrgentReads};
use chatsphere_core::{ControlEntry, ControlPosition, Error, RoomId, Seq, TokenId, TokenWithUser, UserId};
use rusqlite::OptionalExtension;

use super::{rooms, tokens};
use crate::sqlite::database::SqliteStore;
use crate::sqlite::rows;
use crate::{control, pages};

#[async_trait]
impl UrgentReads for SqliteStore {
    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error> {
        self.database.urgent.read(move |connection| Ok(tokens::token(connection, id)?)).await
    }

    async fn room_relation(&self, room: RoomId, user: UserId) -> Result<Option<RoomRelation>, Error> {
        self.database.urgent.read(move |connection| Ok(rooms::room_relation(connection, room, user)?)).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        let rooms = rooms.to_vec();
        let read = move |connection: &rusqlite::Connection| {
            let mut find = connection.prepare_cached("SELECT seq FROM rooms WHERE id = ?1")?;
            let mut heads = Vec::with_capacity(rooms.len());
            for id in rooms {
                let head = find.query_row([id.as_bytes()], |row| rows::seq(row, 0)).optional()?;
                heads.extend(head.map(|head| (id, head)));
            }
            Ok(heads)
        };
        self.database.urgent.read(read).await
    }

    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error> {
        let sql = "SELECT position, kind, subject FROM control_log WHERE position > ?1 ORDER BY position LIMIT ?2";
        let read = move |connection: &rusqlite::Connection| {
            let after = i64::try_from(after.0).unwrap_or(i64::MAX);
            let entries = connection
                .prepare_cached(sql)?
                .query_map((after, pages::rows(limit)), |row| control::from_row(row))?
                .collect::<Result<_, _>>()?;
            Ok(entries)
        };
        self.database.urgent.read(read).await
    }

    async fn control_head(&self) -> Result<ControlPosition, Error> {
        let read = |connection: &rusqlite::Connection| {
            let mut find = connection.prepare_cached("SELECT position FROM control_head")?;
            Ok(ControlPosition(find.query_row([], |row| rows::count(row, 0))?))
        };
        self.database.urgent.read(read).await
    }

    async fn size(&self) -> Result<u64, Error> {
        let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let bytes: i64 =
            self.database.urgent.read(move |connection| Ok(connection.query_row(sql, [], |row| row.get(0))?)).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}
