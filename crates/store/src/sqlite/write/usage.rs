//! The bytes that users have stored today.

use std::collections::HashMap;

use chatsphere_core::UserId;
use rusqlite::OptionalExtension;

use super::SqliteWriter;
use crate::sqlite::rows;
use crate::write::database::Usage;
use crate::write::failure::Failure;

impl Usage for SqliteWriter {
    async fn stored(&mut self, users: &[UserId], day: i64) -> Result<HashMap<UserId, u64>, Failure> {
        self.run(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT bytes FROM stored_bytes WHERE user_pk = (SELECT pk FROM users WHERE id = ?1) AND day = ?2",
            )?;
            let mut stored = HashMap::new();
            for user in users {
                let bytes = find.query_row((user.as_bytes(), day), |row| rows::count(row, 0)).optional()?;
                stored.extend(bytes.map(|bytes| (*user, bytes)));
            }
            Ok(stored)
        })
    }

    async fn set_stored(&mut self, bytes: &[(UserId, u64)], day: i64) -> Result<(), Failure> {
        self.run(|connection| {
            let mut set = connection.prepare_cached(
                "INSERT OR REPLACE INTO stored_bytes (user_pk, day, bytes) SELECT pk, ?2, ?3 FROM users WHERE id = ?1",
            )?;
            for (user, bytes) in bytes {
                set.execute((user.as_bytes(), day, bytes.cast_signed()))?;
            }
            Ok(())
        })
    }
}
