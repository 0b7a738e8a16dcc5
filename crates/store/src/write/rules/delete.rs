//! Deletes messages.

use chatsphere_core::store::{Changed, MessageDeletion};
use chatsphere_core::{Content, MessageChangeKind, policy};

use super::found_message::{FoundMessage, editor};
use super::{Effects, Origin, Rule, WriteInfo};
use crate::write::database::WriteDatabase;
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
        let mut found = if self.hard {
            FoundMessage::find_any(database, self, self.room_id, self.message_id).await?
        } else {
            FoundMessage::find(database, self, self.room_id, self.message_id).await?
        };
        if let Some(caller) = &found.caller {
            policy::may_delete_message(caller, found.message.author.id, found.relation)?;
            if self.hard {
                policy::may_remove_messages(caller)?;
            }
        }
        let is_done = if self.hard { found.message.is_removed() } else { found.message.is_deleted() };
        if is_done {
            return found.unchanged(database).await;
        }
        let by = editor(database, self.by).await?;
        let empty = Content::from_stored(String::new());
        found.change(self.at, empty, |details, at| {
            (details.deleted_at, details.deleted_by) = (Some(at), Some(self.by));
            (details.pinned_at, details.pinned_by) = (None, None);
            if self.hard {
                (details.edited_at, details.edited_by, details.removed) = (None, None, true);
            }
        });
        database.delete_message(found.head.pk, &found.update(by.pk)).await?;
        if self.hard {
            let client_id = found.message.client_message_id.take();
            database.remove_message(found.head.pk, &found.update(by.pk), client_id.as_ref()).await?;
        }
        found.add_event(database, MessageChangeKind::Deleted, &by, effects).await
    }
}
