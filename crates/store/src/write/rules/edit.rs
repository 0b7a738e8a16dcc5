//! Edits of a message's content.

use chatsphere_core::store::{Changed, MessageEdit, VersionsForgotten};
use chatsphere_core::{Conflict, MessageChangeKind, Version, policy};

use super::found_message::{FoundMessage, editor};
use super::{Effects, Origin, Rule, WriteInfo};
use crate::write::database::WriteDatabase;
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
        let mut found = FoundMessage::find(database, self, self.room_id, self.message_id).await?;
        if let Some(caller) = &found.caller {
            policy::may_edit_of(caller, found.message.author.id)?;
        }
        if found.message.is_deleted() {
            return refuse(Conflict::MessageDeleted);
        }
        if found.message.content == self.content {
            return found.unchanged(database).await;
        }
        if self.if_version.is_some_and(|version| version < found.message.version()) {
            return refuse(Conflict::VersionConflict);
        }
        let by = editor(database, self.by).await?;
        let edited_by = (self.by != found.message.author.id).then_some(self.by);
        found.change(self.at, self.content.clone(), |details, at| {
            (details.edited_at, details.edited_by) = (Some(at), edited_by)
        });
        database.append_text(&found.update(by.pk)).await?;
        let dropped = found.message.version().get().saturating_sub(self.max_versions);
        if dropped > 0 {
            database.drop_texts(found.pk, dropped).await?;
        }
        found.add_event(database, MessageChangeKind::Edited, &by, effects).await
    }

    fn stored(answer: &Changed) -> bool {
        answer.message.details.as_ref().is_some_and(|details| details.content_seq == answer.seq)
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
        let found = FoundMessage::find(database, self, self.room_id, self.message_id).await?;
        if let Some(caller) = &found.caller {
            policy::may_forget_versions(caller, found.message.author.id)?;
        }
        if found.message.version() > Version::FIRST && !found.message.is_deleted() {
            database.forget_texts(found.pk).await?;
        }
        found.unchanged(database).await
    }
}
