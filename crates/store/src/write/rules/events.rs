//! Adding events other than new messages.

use std::sync::Arc;

use chatsphere_core::{Event, EventKind, RoomId, Seq, Timestamp, User, UserRef};

use super::Effects;
use crate::write::database::{Keyed, NewEvent, RoomHead, WriteDatabase};
use crate::write::failure::Failure;

/// Where and when an event happens, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) room_id: RoomId,
    /// The room before the event.
    pub(super) head: RoomHead,
    /// Whom it is about; the same as `by` where it is about nobody.
    pub(super) user: &'a Keyed<User>,
    pub(super) by: &'a Keyed<User>,
    /// The message that it is about.
    pub(super) message_pk: Option<i64>,
    pub(super) at: Timestamp,
}

impl Occasion<'_> {
    /// Adds the room's next event: `kind` makes it of the user and of who did it. Answers its number.
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
