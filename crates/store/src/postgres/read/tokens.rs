//! Reading tokens.

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{Error, TokenId, TokenWithUser};

use crate::pages::{page, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, token_columns};

macro_rules! from_tokens {
    () => {
        " FROM tokens t JOIN users u ON u.pk = t.user_pk LEFT JOIN tokens p ON p.pk = t.parent_pk "
    };
}

pub(in crate::postgres) async fn token(reads: &Reads, id: TokenId) -> Result<Option<TokenWithUser>, Error> {
    let sql = concat!("SELECT ", token_columns!(), from_tokens!(), "WHERE t.id = $1");
    reads.read(sql, &[id.as_uuid()], |found| Ok(Ok(found.first().map(rows::token_with_user).transpose()?))).await
}

pub(in crate::postgres) async fn tokens(reads: &Reads, request: PageRequest) -> Result<Page<TokenWithUser>, Error> {
    let sql = concat!("SELECT ", token_columns!(), ", t.pk", from_tokens!(), "WHERE t.pk < $1 ORDER BY t.pk DESC LIMIT $2");
    let before = request.cursor.map_or(i64::MAX, |cursor| cursor.0);
    reads
        .read(sql, &[&before, &rows_for(request.limit)], |found| {
            let tokens =
                found.iter().map(|row| Ok((row.try_get(14)?, rows::token_with_user(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(tokens, request.limit)))
        })
        .await
}
