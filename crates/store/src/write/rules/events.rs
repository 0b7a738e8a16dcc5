//! Adds events other than new messages.

use std::sync::Arc;

use chatsphere_core::{Event, EventKind, RoomId, Seq, Timestamp, User, UserRef};

use super::Effects;
use crate::write::database::{Keyed, NewEvent, RoomHead, WriteDatabase};
use crate::write::failure::Failure;

/// The circumstances of an event: its room, its time, and its user.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) room_id: RoomId,
    /// The room's row before the event.
    pub(super) head: RoomHead,
    /// The user concerned; the same as `by` if the event concerns no user.
    pub(super) user: &'a Keyed<User>,
    pub(super) by: &'a Keyed<User>,
    /// The referenced message.
    pub(super) message_pk: Option<i64>,
    pub(super) at: Timestamp,
}

impl Occasion<'_> {
    /// Adds the room's next event, whose kind `kind` makes of both users. Returns its number.
    pub(super) async fn add<D: WriteDatabase>(
        self,
        database: &mut D,
        kind: impl FnOnce(UserRef, UserRef) -> EventKind,
        effects: &mut Effects,
    ) -> Result<Seq, Failure> {
        let Self { room_id, head, user, by, message_pk, at } = self;
        let kind = kind(UserRef::from(&user.value), UserRef::from(&by.value));
        let seq = head.seq.next();
        let (room_pk, user_pk, by_pk) = (head.pk, user.pk, by.pk);
        let new = NewEvent { room_id, room_pk, seq, at, kind: &kind, user_pk, by_pk, message_pk, body: None };
        database.insert_event(&new).await?;
        effects.events.push(Arc::new(Event { room_id, seq, at, kind }));
        Ok(seq)
    }
}
