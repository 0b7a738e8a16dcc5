//! An existing message that a write changes: how it is found, and how its change is recorded.

use std::sync::Arc;

use chatsphere_core::store::{Changed, RoomRelation};
use chatsphere_core::{
    Access, Caller, Content, Error, EventKind, EventMessage, Message, MessageChangeKind, MessageDetails, MessageId, NotFound,
    RoomId, Timestamp, User, UserId, policy,
};

use super::events::Occasion;
use super::{Effects, WriteInfo, actor};
use crate::write::database::{Keyed, MessageUpdate, RoomHead, WriteDatabase};
use crate::write::failure::{Stop, refuse};

/// A message, with the room's row and the caller at the time of the commit.
pub(super) struct FoundMessage {
    /// `None` is the operator.
    pub(super) caller: Option<Arc<Caller>>,
    /// The caller's relation to the room, if the caller enters it as a member.
    pub(super) relation: Option<RoomRelation>,
    pub(super) head: RoomHead,
    pub(super) pk: i64,
    pub(super) message: Message,
}

impl FoundMessage {
    /// Finds the message, if the caller may read its room. One that was deleted for good is not found.
    pub(super) async fn find<D: WriteDatabase>(
        database: &mut D,
        write: &impl WriteInfo,
        room: RoomId,
        id: MessageId,
    ) -> Result<Self, Stop> {
        let found = Self::find_any(database, write, room, id).await?;
        if found.message.is_removed() { refuse(Error::NotFound(NotFound::Message)) } else { Ok(found) }
    }

    /// The same, also for a message that was deleted for good.
    pub(super) async fn find_any<D: WriteDatabase>(
        database: &mut D,
        write: &impl WriteInfo,
        room: RoomId,
        id: MessageId,
    ) -> Result<Self, Stop> {
        let caller = actor::caller(database, write.actor(), write.at()).await?;
        let head = database.find_room(room).await?;
        let mut relation = None;
        if let Some(caller) = &caller {
            let access = policy::room_access(caller, room)?;
            if let (Access::Member(user), Some(_)) = (access, head) {
                relation = database.room_relation(room, user).await?;
            }
            policy::may_enter(access, head.map(|_| relation.is_some_and(|relation| relation.member)))?;
        }
        let Some(head) = head else { return refuse(Error::NotFound(NotFound::Room)) };
        match database.find_message(room, id).await? {
            Some(Keyed { pk, value: message }) => Ok(Self { caller, relation, head, pk, message }),
            None => refuse(Error::NotFound(NotFound::Message)),
        }
    }

    /// Returns the answer if nothing changes: the room's newest event stands for the change.
    pub(super) async fn unchanged<D: WriteDatabase>(self, database: &mut D) -> Result<Changed, Stop> {
        let Self { head, message, .. } = self;
        let at = database.event_time(head.pk, head.seq).await?.unwrap_or(message.updated_at);
        Ok(Changed { message, seq: head.seq, at })
    }

    /// Makes the next change of the message, whose event is the room's next, at this time or later: later than the last change,
    /// whatever the clock says, because readers look for changes only where a message's times differ. `describe` completes it.
    pub(super) fn change(&mut self, at: Timestamp, content: Content, describe: impl FnOnce(&mut MessageDetails, Timestamp)) {
        let at = at.max(Timestamp::from_millis(self.message.updated_at.as_millis() + 1));
        let details = self.message.details_mut();
        (details.content_seq, details.version) = (self.head.seq.next(), details.version.next());
        describe(details, at);
        (self.message.content, self.message.updated_at) = (content, at);
    }

    /// Returns the message after [`FoundMessage::change`], for the database.
    pub(super) fn update(&self, by_pk: i64) -> MessageUpdate<'_> {
        MessageUpdate { pk: self.pk, message: &self.message, by_pk }
    }

    /// Adds the event of a [`FoundMessage::change`] that is stored.
    pub(super) async fn add_event<D: WriteDatabase>(
        self,
        database: &mut D,
        how: MessageChangeKind,
        by: &Keyed<User>,
        effects: &mut Effects,
    ) -> Result<Changed, Stop> {
        let at = self.message.updated_at;
        self.add_event_at(at, database, how, by, effects).await
    }

    /// The same for a change that does not count as an update of the message.
    pub(super) async fn add_event_at<D: WriteDatabase>(
        self,
        at: Timestamp,
        database: &mut D,
        how: MessageChangeKind,
        by: &Keyed<User>,
        effects: &mut Effects,
    ) -> Result<Changed, Stop> {
        let Self { head, pk, message, .. } = self;
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
