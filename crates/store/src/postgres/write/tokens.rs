//! The writer's access to tokens.

use chatsphere_core::{ControlChange, Timestamp, Token, TokenId, TokenState, UserId};

use super::PostgresWriter;
use crate::postgres::failure::Cause;
use crate::postgres::read::tokens::{CLIENT_TOKEN, ONE};
use crate::postgres::rows;
use crate::write::database::{TokenKey, Tokens};
use crate::write::failure::Failure;

const REVOKE: &str = "WITH RECURSIVE family (pk, depth) AS (
        SELECT pk, 0 FROM tokens WHERE id = $1
        UNION ALL
        SELECT t.pk, f.depth + 1 FROM family f
        CROSS JOIN LATERAL (SELECT pk FROM tokens WHERE parent_pk = f.pk AND parent_pk IS NOT NULL OFFSET 0) AS t
    ), revoked AS (
        UPDATE tokens SET revoked_at = $2 WHERE pk = ANY (ARRAY(SELECT pk FROM family)) AND revoked_at IS NULL RETURNING id, pk
    )
    SELECT r.id FROM revoked r JOIN family f ON f.pk = r.pk ORDER BY f.depth, f.pk";

const DESCENDS: &str = "WITH RECURSIVE line (id, parent_pk) AS (
        SELECT id, parent_pk FROM tokens WHERE id = $1
        UNION ALL
        SELECT t.id, t.parent_pk FROM line l
        CROSS JOIN LATERAL (SELECT id, parent_pk FROM tokens WHERE pk = l.parent_pk LIMIT 1) AS t WHERE l.id <> $2
    )
    SELECT 1 FROM line WHERE id = $2 LIMIT 1";

impl Tokens for PostgresWriter {
    async fn token_state(&mut self, id: TokenId) -> Result<Option<TokenState>, Failure> {
        let states = self.run(|session| async move { session.token_states(&[id]).await }).await?;
        Ok(states.into_values().next())
    }

    async fn token_row(&mut self, id: TokenId) -> Result<Option<Token>, Failure> {
        let found = self.query(ONE, &[id.as_uuid()]).await?;
        let row = self.read(found.first().map(rows::token_with_user).transpose())?;
        Ok(row.map(|row| row.token))
    }

    async fn descends(&mut self, id: TokenId, elder: TokenId) -> Result<bool, Failure> {
        Ok(!self.query(DESCENDS, &[id.as_uuid(), elder.as_uuid()]).await?.is_empty())
    }

    async fn has_client_token(&mut self, user: UserId, now: Timestamp) -> Result<bool, Failure> {
        Ok(!self.query(CLIENT_TOKEN, &[user.as_uuid(), &now.as_millis()]).await?.is_empty())
    }

    async fn find_token(&mut self, id: TokenId) -> Result<Option<TokenKey>, Failure> {
        // A minting transaction locks the parent's row. So a revocation on another node waits for the child, and then revokes
        // it too.
        let sql = "SELECT pk, revoked_at IS NOT NULL FROM tokens WHERE id = $1 FOR NO KEY UPDATE";
        let found = self.query(sql, &[id.as_uuid()]).await?;
        let key = found.first().map(|row| Ok(TokenKey { pk: row.try_get(0)?, revoked: row.try_get(1)? }));
        self.read(key.transpose())
    }

    async fn insert_token(&mut self, token: &Token, user_pk: i64, parent_pk: Option<i64>) -> Result<(), Failure> {
        let sql = "INSERT INTO tokens (id, kind, user_pk, parent_pk, permissions, email, created_at, expires_at, revoked_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let permissions = serde_json::to_string(&token.permissions).map_err(|_| Cause::Foreign("no permissions"));
        let permissions = self.read(permissions)?;
        let email = token.email.as_ref().map(|email| email.as_str());
        let (created, expires) = (token.created_at.as_millis(), token.expires_at.as_millis());
        let revoked = token.revoked_at.map(Timestamp::as_millis);
        let kind = token.token_type.as_str();
        self.query(sql, &[token.id.as_uuid(), &kind, &user_pk, &parent_pk, &permissions, &email, &created, &expires, &revoked])
            .await
            .map(drop)
    }

    async fn revoke_family(&mut self, id: TokenId, at: Timestamp) -> Result<Vec<TokenId>, Failure> {
        let mut family = Vec::new();
        // Another node may be minting a child of one of these tokens. This statement waits for it, and does not see the child,
        // which did not exist when the statement began. So it is repeated until it finds no token.
        loop {
            let revoked = self.query(REVOKE, &[id.as_uuid(), &at.as_millis()]).await?;
            if revoked.is_empty() {
                self.forget_rights(family.iter().copied().map(ControlChange::Token));
                return Ok(family);
            }
            let revoked: Result<Vec<TokenId>, Cause> = revoked.iter().map(|row| rows::id(row, 0)).collect();
            family.extend(self.read(revoked)?);
        }
    }
}
