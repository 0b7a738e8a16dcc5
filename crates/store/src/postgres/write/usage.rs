//! The bytes that users have stored today.

use std::collections::HashMap;

use chatsphere_core::UserId;
use uuid::Uuid;

use super::PostgresWriter;
use crate::postgres::failure::Cause;
use crate::postgres::rows;
use crate::write::database::Usage;
use crate::write::failure::Failure;

/// Inserts in the order of the keys, as every node does, so that nodes can't deadlock.
const MAKE: &str = "INSERT INTO stored_bytes (user_pk, day, bytes)
    SELECT pk, $2, 0 FROM users WHERE id = ANY ($1) ORDER BY pk ON CONFLICT (user_pk) DO NOTHING";
const LOCK: &str = "SELECT u.id, s.bytes, s.day = $2 FROM users u JOIN stored_bytes s ON s.user_pk = u.pk
    WHERE u.id = ANY ($1) ORDER BY u.pk FOR UPDATE OF s";
const SET: &str = "UPDATE stored_bytes SET day = $3, bytes = new.bytes
    FROM UNNEST($1::uuid[], $2::bigint[]) AS new (id, bytes)
    WHERE stored_bytes.user_pk = (SELECT pk FROM users WHERE id = new.id)";

impl Usage for PostgresWriter {
    async fn stored(&mut self, users: &[UserId], day: i64) -> Result<HashMap<UserId, u64>, Failure> {
        let ids: Vec<Uuid> = users.iter().map(|user| *user.as_uuid()).collect();
        self.query(MAKE, &[&ids, &day]).await?;
        let found = self.query(LOCK, &[&ids, &day]).await?;
        let stored: Result<_, Cause> =
            found.iter().map(|row| Ok((rows::id(row, 0)?, if row.try_get(2)? { rows::count(row, 1)? } else { 0 }))).collect();
        self.read(stored)
    }

    async fn set_stored(&mut self, bytes: &[(UserId, u64)], day: i64) -> Result<(), Failure> {
        let (ids, bytes): (Vec<Uuid>, Vec<i64>) =
            bytes.iter().map(|(user, bytes)| (*user.as_uuid(), bytes.cast_signed())).unzip();
        self.query(SET, &[&ids, &bytes, &day]).await.map(drop)
    }
}
