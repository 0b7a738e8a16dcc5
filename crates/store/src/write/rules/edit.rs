//! Edits messages, and erases their earlier versions.

use chatsphere_core::store::{Changed, MessageEdit, VersionsForgotten};
use chatsphere_core::{
    Access, Caller, Conflict, Error, EventKind, EventMessage, Message, MessageChange, MessageId, NotFound, RoomId, Timestamp,
    policy,
};

use super::events::Occasion;
use super::{Effects, Origin, Rule, WriteInfo, actor};
use crate::write::database::{Keyed, NewText, RoomHead, WriteDatabase};
use crate::write::failure::{Stop, refuse};

impl WriteInfo for MessageEdit {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: Some(self.room_id) }
    }

    fn held_bytes(&self) -> usize {
        self.content.as_str().len()
    }

    fn stored_bytes(&self) -> u64 {
        u64::try_from(self.content.as_str().len() + 400).unwrap_or(u64::MAX)
    }
}

impl Rule for MessageEdit {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<Changed, Stop> {
        let caller = actor::caller(database, self.actor, self.at).await?;
        let (head, mut found) = find(database, caller.as_deref(), self.room_id, self.message_id).await?;
        if let Some(caller) = &caller {
            policy::may_edit_of(caller, found.value.author.id)?;
        }
        if found.value.content == self.content {
            return unchanged(database, head, found.value).await;
        }
        if self.if_version.is_some_and(|version| version < found.value.version()) {
            return refuse(Conflict::VersionConflict);
        }
        let Some(by) = database.find_user(self.by).await? else { return refuse(Error::NotFound(NotFound::User)) };
        let (pk, message) = (found.pk, &mut found.value);
        // This is later than the last change, even if the clock is not: readers look up a change only if a message's times
        // differ.
        let at = self.at.max(Timestamp::from_millis(message.updated_at.as_millis() + 1));
        let change = MessageChange {
            seq: head.seq.next(),
            version: message.version().next(),
            edited_at: at,
            edited_by: (self.by != message.author.id).then_some(self.by),
        };
        message.content = self.content.clone();
        message.updated_at = at;
        message.change = Some(Box::new(change.clone()));
        let text = NewText { message_pk: pk, message, change: &change, by_pk: by.pk };
        database.append_text(&text).await?;
        let occasion = Occasion { room_id: self.room_id, head, user: &by, by: &by, message_pk: Some(pk), at };
        let shown = EventMessage::Shown(Box::new(message.clone()));
        let kind = |_, by| EventKind::MessageEdited { message: shown, by };
        let seq = occasion.add(database, kind, effects).await?;
        Ok(Changed { message: found.value, seq, at })
    }

    fn stored(answer: &Changed) -> bool {
        answer.message.change.as_ref().is_some_and(|change| change.seq == answer.seq)
    }
}

impl WriteInfo for VersionsForgotten {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: Some(self.room_id) }
    }

    fn stored_bytes(&self) -> u64 {
        0
    }
}

impl Rule for VersionsForgotten {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, _: &mut Effects) -> Result<Changed, Stop> {
        let caller = actor::caller(database, self.actor, self.at).await?;
        let (head, found) = find(database, caller.as_deref(), self.room_id, self.message_id).await?;
        if let Some(caller) = &caller {
            policy::may_forget_versions(caller, found.value.author.id)?;
        }
        if found.value.change.is_some() {
            database.forget_texts(found.pk).await?;
        }
        unchanged(database, head, found.value).await
    }
}

/// Returns the message, if the caller may read its room. `None` is the operator.
async fn find<D: WriteDatabase>(
    database: &mut D,
    caller: Option<&Caller>,
    room: RoomId,
    id: MessageId,
) -> Result<(RoomHead, Keyed<Message>), Stop> {
    let head = database.find_room(room).await?;
    if let Some(caller) = caller {
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
        Some(found) => Ok((head, found)),
        None => refuse(Error::NotFound(NotFound::Message)),
    }
}

/// Answers an edit that changes nothing with the room's newest event.
async fn unchanged<D: WriteDatabase>(database: &mut D, head: RoomHead, message: Message) -> Result<Changed, Stop> {
    let at = database.event_time(head.pk, head.seq).await?.unwrap_or(message.updated_at);
    Ok(Changed { message, seq: head.seq, at })
}
