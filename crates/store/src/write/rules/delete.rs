//! Deletes messages.

use chatsphere_core::store::{Changed, MessageDeletion};
use chatsphere_core::{Content, MessageChangeKind, policy};

use super::found_message::{FoundMessage, editor};
use super::{Effects, Origin, Rule, WriteInfo};
use crate::write::database::{MessageUpdate, WriteDatabase};
use crate::write::failure::Stop;

impl WriteInfo for MessageDeletion {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: Some(self.room_id) }
    }

    /// Deleting succeeds whatever the quota and the free space: what it stores is small, and it erases a content.
    fn stored_bytes(&self) -> u64 {
        0
    }
}

impl Rule for MessageDeletion {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<Changed, Stop> {
        let mut found = FoundMessage::find(database, self, self.room_id, self.message_id).await?;
        if let Some(caller) = &found.caller {
            let relation = database.room_relation(self.room_id, caller.user.id).await?;
            policy::may_delete_message(caller, found.message.author.id, relation)?;
        }
        if found.message.is_deleted() {
            return found.unchanged(database).await;
        }
        let by = editor(database, self.by).await?;
        let (mut change, at) = found.next_change(self.at);
        change.deleted_at = Some(at);
        change.deleted_by = Some(self.by);
        found.message.content = Content::from_stored(String::new());
        found.message.updated_at = at;
        found.message.change = Some(Box::new(change.clone()));
        let update = MessageUpdate { message_pk: found.pk, message: &found.message, change: &change, by_pk: by.pk };
        database.delete_message(found.head.pk, &update).await?;
        found.add_event(database, MessageChangeKind::Deleted, &by, effects).await
    }

    fn stored(answer: &Changed) -> bool {
        answer.message.change.as_ref().is_some_and(|change| change.seq == answer.seq)
    }
}
