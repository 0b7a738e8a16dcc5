//! The writer's access to tokens.

use chatsphere_core::{Timestamp, Token, TokenId, TokenState, UserId};
use rusqlite::OptionalExtension;

use super::SqliteWriter;
use crate::sqlite::failure::failure;
use crate::sqlite::{read, rows};
use crate::write::database::{TokenKey, Tokens};
use crate::write::failure::Failure;

impl Tokens for SqliteWriter {
    async fn token_state(&mut self, id: TokenId) -> Result<Option<TokenState>, Failure> {
        let Self { connection, known, health, .. } = self;
        known.token(connection, id).map_err(|error| failure(health, &error))
    }

    async fn token_row(&mut self, id: TokenId) -> Result<Option<Token>, Failure> {
        let row = self.run(|connection| read::tokens::token(connection, id))?;
        Ok(row.map(|row| row.token))
    }

    async fn descends(&mut self, id: TokenId, elder: TokenId) -> Result<bool, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "WITH RECURSIVE line (id, parent_pk) AS (
                         SELECT id, parent_pk FROM tokens WHERE id = ?1
                         UNION ALL
                         SELECT t.id, t.parent_pk FROM line l JOIN tokens t ON t.pk = l.parent_pk WHERE l.id <> ?2
                     )
                     SELECT EXISTS (SELECT 1 FROM line WHERE id = ?2)",
                )?
                .query_row((id.as_bytes(), elder.as_bytes()), |row| row.get(0))
        })
    }

    async fn has_client_token(&mut self, user: UserId, now: Timestamp) -> Result<bool, Failure> {
        self.run(|connection| read::tokens::has_client_token(connection, user, now))
    }

    async fn find_token(&mut self, id: TokenId) -> Result<Option<TokenKey>, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT pk, revoked_at IS NOT NULL FROM tokens WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| Ok(TokenKey { pk: row.get(0)?, revoked: row.get(1)? }))
                .optional()
        })
    }

    async fn insert_token(&mut self, token: &Token, user_pk: i64, parent_pk: Option<i64>) -> Result<(), Failure> {
        self.run(|connection| {
            let permissions = serde_json::to_string(&token.permissions)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            connection
                .prepare_cached(
                    "INSERT INTO tokens (id, kind, user_pk, parent_pk, permissions, email, created_at, expires_at, revoked_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute((
                    token.id.as_bytes(),
                    token.token_type.as_str(),
                    user_pk,
                    parent_pk,
                    permissions,
                    token.email.as_ref().map(|email| email.as_str()),
                    token.created_at.as_millis(),
                    token.expires_at.as_millis(),
                    token.revoked_at.map(Timestamp::as_millis),
                ))
                .map(drop)
        })
    }

    async fn revoke_family(&mut self, id: TokenId, at: Timestamp) -> Result<Vec<TokenId>, Failure> {
        self.known.forget_tokens();
        self.run(|connection| {
            let family: Vec<(i64, TokenId)> = connection
                .prepare_cached(
                    "WITH RECURSIVE family (pk, id, depth) AS (
                         SELECT pk, id, 0 FROM tokens WHERE id = ?1
                         UNION ALL
                         SELECT t.pk, t.id, f.depth + 1 FROM family f JOIN tokens t ON t.parent_pk = f.pk
                         WHERE t.revoked_at IS NULL
                     )
                     SELECT pk, id FROM family ORDER BY depth, pk",
                )?
                .query_map([id.as_bytes()], |row| Ok((row.get(0)?, rows::id(row, 1)?)))?
                .collect::<Result<_, _>>()?;
            let mut revoke = connection.prepare_cached("UPDATE tokens SET revoked_at = ?2 WHERE pk = ?1")?;
            for (pk, _) in &family {
                revoke.execute((pk, at.as_millis()))?;
            }
            Ok(family.into_iter().map(|(_, id)| id).collect())
        })
    }
}
