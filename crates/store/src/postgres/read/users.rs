//! Reading users.

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{Error, User, UserId};

use crate::pages::{page, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, user_columns};

pub(in crate::postgres) async fn user(reads: &Reads, id: UserId) -> Result<Option<User>, Error> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1");
    reads.read(sql, &[id.as_uuid()], |found| Ok(Ok(found.first().map(rows::user).transpose()?))).await
}

pub(in crate::postgres) async fn user_by_name(reads: &Reads, username: &str) -> Result<Option<User>, Error> {
    // No name holds this character, and the server would refuse it.
    if username.contains('\0') {
        return Ok(None);
    }
    let sql = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.username = $1");
    reads.read(sql, &[&username], |found| Ok(Ok(found.first().map(rows::user).transpose()?))).await
}

pub(in crate::postgres) async fn users(reads: &Reads, request: PageRequest) -> Result<Page<User>, Error> {
    let sql = concat!("SELECT ", user_columns!(), ", u.pk FROM users u WHERE u.pk > $1 ORDER BY u.pk LIMIT $2");
    let after = request.cursor.map_or(0, |cursor| cursor.0);
    reads
        .read(sql, &[&after, &rows_for(request.limit)], |found| {
            let users = found.iter().map(|row| Ok((row.try_get(7)?, rows::user(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(users, request.limit)))
        })
        .await
}
