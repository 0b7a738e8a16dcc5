//! Reading tokens.

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{Error, Timestamp, TokenId, TokenWithUser, UserId};

use crate::pages::{page, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, token_columns};

macro_rules! tokens_where {
    ($rest:literal, $order:literal) => {
        concat!(
            "SELECT ",
            token_columns!(),
            ", t.pk FROM (SELECT * FROM tokens WHERE ",
            $rest,
            ") AS t
             CROSS JOIN LATERAL (SELECT * FROM users WHERE pk = t.user_pk LIMIT 1) AS u
             LEFT JOIN LATERAL (SELECT id FROM tokens WHERE pk = t.parent_pk LIMIT 1) AS p ON true ",
            $order
        )
    };
}
pub(in crate::postgres) const ONE: &str = tokens_where!("id = $1", "");
/// Of the given ids, those that exist.
pub(in crate::postgres) const SOME: &str = tokens_where!("id = ANY ($1)", "");
const PAGE: &str = tokens_where!("pk < $1 ORDER BY pk DESC LIMIT $2", "ORDER BY t.pk DESC");

pub(in crate::postgres) async fn token(reads: &Reads, id: TokenId) -> Result<Option<TokenWithUser>, Error> {
    reads.read(ONE, &[id.as_uuid()], |found| Ok(Ok(found.first().map(rows::token_with_user).transpose()?))).await
}

pub(in crate::postgres) const CLIENT_TOKEN: &str =
    "SELECT 1 FROM tokens WHERE kind = 'CLIENT' AND user_pk = (SELECT pk FROM users WHERE id = $1)
        AND revoked_at IS NULL AND expires_at > $2 LIMIT 1";

pub(in crate::postgres) async fn has_client_token(reads: &Reads, user: UserId, now: Timestamp) -> Result<bool, Error> {
    reads.read(CLIENT_TOKEN, &[user.as_uuid(), &now.as_millis()], |found| Ok(Ok(!found.is_empty()))).await
}

pub(in crate::postgres) async fn tokens(reads: &Reads, request: PageRequest) -> Result<Page<TokenWithUser>, Error> {
    let before = request.cursor.map_or(i64::MAX, |cursor| cursor.0);
    reads
        .read(PAGE, &[&before, &rows_for(request.limit)], |found| {
            let tokens =
                found.iter().map(|row| Ok((row.try_get(15)?, rows::token_with_user(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(tokens, request.limit)))
        })
        .await
}
