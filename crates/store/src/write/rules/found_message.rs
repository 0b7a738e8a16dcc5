//! An existing message that a write changes: how it is found, and how its change is recorded.

use std::sync::Arc;

use chatsphere_core::store::Changed;
use chatsphere_core::{
    Access, Caller, Error, EventKind, EventMessage, Message, MessageChange, MessageChangeKind, MessageId, NotFound, RoomId,
    Timestamp, User, UserId, policy,
};

use super::events::Occasion;
use super::{Effects, WriteInfo, actor};
use crate::write::database::{Keyed, RoomHead, WriteDatabase};
use crate::write::failure::{Stop, refuse};

/// A message, with the room's row and the caller at the time of the commit.
pub(super) struct FoundMessage {
    /// `None` is the operator.
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) head: RoomHead,
    pub(super) pk: i64,
    pub(super) message: Message,
}

impl FoundMessage {
    /// Finds the message, if the caller may read its room.
    pub(super) async fn find<D: WriteDatabase>(
        database: &mut D,
        write: &impl WriteInfo,
        room: RoomId,
        id: MessageId,
    ) -> Result<Self, Stop> {
        let caller = actor::caller(database, write.actor(), write.at()).await?;
        let head = database.find_room(room).await?;
        if let Some(caller) = &caller {
            let access = policy::room_access(caller, room)?;
            let member = match (access, head) {
                (_, None) => None,
                (Access::Any, Some(_)) => Some(false),
                (Access::Member(user), Some(_)) => database.room_relation(room, user).await?.map(|relation| relation.member),
            };
            policy::may_enter(access, member)?;
        }
        let Some(head) = head else { return refuse(Error::NotFound(NotFound::Room)) };
        match database.find_message(room, id).await? {
            Some(Keyed { pk, value: message }) => Ok(Self { caller, head, pk, message }),
            None => refuse(Error::NotFound(NotFound::Message)),
        }
    }

    /// Returns the answer if nothing changes: the room's newest event stands for the change.
    pub(super) async fn unchanged<D: WriteDatabase>(self, database: &mut D) -> Result<Changed, Stop> {
        let Self { head, message, .. } = self;
        let at = database.event_time(head.pk, head.seq).await?.unwrap_or(message.updated_at);
        Ok(Changed { message, seq: head.seq, at })
    }

    /// Makes the next change of the message, whose event is the room's next. Its time is later than that of the last change,
    /// whatever the clock says: readers look for changes only where a message's times differ.
    pub(super) fn next_change(&self, at: Timestamp) -> (MessageChange, Timestamp) {
        let at = at.max(Timestamp::from_millis(self.message.updated_at.as_millis() + 1));
        let (seq, version) = (self.head.seq.next(), self.message.version().next());
        let change = match self.message.change.as_deref() {
            Some(last) => MessageChange { seq, version, ..last.clone() },
            None => MessageChange { seq, version, edited_at: None, edited_by: None, deleted_at: None, deleted_by: None },
        };
        (change, at)
    }

    /// Adds the event of a change that is stored.
    pub(super) async fn add_event<D: WriteDatabase>(
        self,
        database: &mut D,
        how: MessageChangeKind,
        by: &Keyed<User>,
        effects: &mut Effects,
    ) -> Result<Changed, Stop> {
        let Self { head, pk, message, .. } = self;
        let at = message.updated_at;
        let occasion = Occasion { room_id: message.room_id, head, user: by, by, message_pk: Some(pk), at };
        let shown = EventMessage::Shown(Box::new(message.clone()));
        let seq = occasion.add(database, |_, by| EventKind::MessageChanged { how, message: shown, by }, effects).await?;
        Ok(Changed { message, seq, at })
    }
}

/// Finds the user who makes a change.
pub(super) async fn editor<D: WriteDatabase>(database: &mut D, id: UserId) -> Result<Keyed<User>, Stop> {
    match database.find_user(id).await? {
        Some(user) => Ok(user),
        None => refuse(Error::NotFound(NotFound::User)),
    }
}
