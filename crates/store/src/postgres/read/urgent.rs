//! Reads that decide about access, or about whether a node is up to date.

use async_trait::async_trait;
use chatsphere_core::store::{RoomRelation, UrgentReads};
use chatsphere_core::{ControlEntry, ControlPosition, Error, RoomId, Seq, TokenId, TokenWithUser, UserId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::rooms::STANDING;
use super::tokens;
use crate::postgres::database::PostgresStore;
use crate::postgres::failure::Cause;
use crate::postgres::rows;
use crate::{control, pages};

pub(in crate::postgres) const CONTROL_AFTER: &str =
    "SELECT position, kind, subject FROM control_log WHERE position > $1 ORDER BY position LIMIT $2";

#[async_trait]
impl UrgentReads for PostgresStore {
    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error> {
        let answer = |found: Vec<Row>| Ok(Ok(found.first().map(rows::token_with_user).transpose()?));
        self.database.urgent.read(tokens::ONE, &[id.as_uuid()], answer).await
    }

    async fn room_relation(&self, room: RoomId, user: UserId) -> Result<Option<RoomRelation>, Error> {
        let answer = |found: Vec<Row>| Ok(Ok(found.first().map(rows::room_relation).transpose()?));
        self.database.urgent.read(STANDING, &[room.as_uuid(), user.as_uuid()], answer).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        let ids: Vec<Uuid> = rooms.iter().map(|id| *id.as_uuid()).collect();
        let head = |row: &Row| Ok::<_, Cause>((rows::id(row, 0)?, rows::seq(row, 1)?));
        let answer = |found: Vec<Row>| Ok(Ok(found.iter().map(head).collect::<Result<_, _>>()?));
        self.database.urgent.read("SELECT id, seq FROM rooms WHERE id = ANY ($1)", &[&ids], answer).await
    }

    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error> {
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let answer = |found: Vec<Row>| Ok(Ok(found.iter().map(control::from_row).collect::<Result<_, _>>()?));
        self.database.urgent.read(CONTROL_AFTER, &[&after, &pages::rows(limit)], answer).await
    }

    async fn control_head(&self) -> Result<ControlPosition, Error> {
        let answer = |found: Vec<Row>| {
            let position = found.first().map_or(Err(Cause::Foreign("no position")), |row| rows::count(row, 0))?;
            Ok(Ok(ControlPosition(position)))
        };
        self.database.urgent.read("SELECT position FROM control_head", &[], answer).await
    }

    async fn size(&self) -> Result<u64, Error> {
        let answer = |found: Vec<Row>| Ok(Ok(found.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?));
        let bytes = self.database.urgent.read("SELECT pg_database_size(current_database())", &[], answer).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}
