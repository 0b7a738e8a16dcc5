//! Pins and unpins messages.

use chatsphere_core::store::{Changed, PinChange};
use chatsphere_core::{Conflict, MessageChangeKind, policy};

use super::found_message::{FoundMessage, editor};
use super::{Effects, Origin, Rule, WriteInfo};
use crate::write::database::WriteDatabase;
use crate::write::failure::{Stop, refuse};

impl WriteInfo for PinChange {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: Some(self.room_id) }
    }

    fn stored_bytes(&self) -> u64 {
        400
    }
}

impl Rule for PinChange {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<Changed, Stop> {
        let mut found = FoundMessage::find(database, self, self.room_id, self.message_id).await?;
        if let Some(caller) = &found.caller {
            policy::may_pin_in(caller, found.relation)?;
        }
        if found.message.is_pinned() == self.pinned {
            return found.unchanged(database).await;
        }
        if found.message.is_deleted() {
            return refuse(Conflict::MessageDeleted);
        }
        if self.pinned && database.count_pins(found.head.pk).await? >= self.max {
            return refuse(Conflict::TooManyPins);
        }
        let by = editor(database, self.by).await?;
        let seq = found.head.seq.next();
        let details = found.message.details_mut();
        details.content_seq = seq;
        (details.pinned_at, details.pinned_by) = self.pinned.then_some((self.at, self.by)).unzip();
        database.set_pin(found.head.pk, &found.update(by.pk)).await?;
        let how = if self.pinned { MessageChangeKind::Pinned } else { MessageChangeKind::Unpinned };
        found.add_event_at(self.at, database, how, &by, effects).await
    }

    fn stored(answer: &Changed) -> bool {
        answer.message.details.as_ref().is_some_and(|details| details.content_seq == answer.seq)
    }
}
