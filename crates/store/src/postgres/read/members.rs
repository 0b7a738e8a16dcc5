//! Reads memberships.

use chatsphere_core::store::{Members, PageRequest};
use chatsphere_core::{Access, Error, RoomId};

use super::{enter, page_rows, reader, room_cte};
use crate::pages::{page, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, join_author};

const MEMBERS: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, page.joined_seq, page.id, page.username
     FROM room LEFT JOIN LATERAL (
         SELECT m.joined_seq, u.id, u.username
         FROM (
             SELECT * FROM members WHERE room.open AND room_pk = room.pk AND joined_seq > $4 ORDER BY joined_seq LIMIT $5
         ) AS m",
    join_author!(),
    ") AS page ON true ORDER BY page.joined_seq"
);

pub(super) async fn members(reads: &Reads, room: RoomId, access: Access, request: PageRequest) -> Result<Members, Error> {
    let (user, any) = reader(access);
    let after = request.cursor.map_or(0, |cursor| cursor.0);
    reads
        .read(MEMBERS, &[room.as_uuid(), &user, &any, &after, &rows_for(request.limit)], |found| {
            let head = match enter(&found, access)? {
                Ok(head) => head,
                Err(error) => return Ok(Err(error)),
            };
            let members = page_rows(&found, 2).map(|row| Ok((row.try_get(2)?, rows::user_ref(row, 3)?)));
            Ok(Ok(Members { page: page(members.collect::<Result<_, Cause>>()?, request.limit), head }))
        })
        .await
}
