//! Appends a run of messages: all facts are queried at once, then the outcomes are decided, then the rows are written.

use std::sync::Arc;

use chatsphere_core::store::NewMessage;
use chatsphere_core::{Event, EventKind, TokenState, TokenType, User, UserId};

use super::decide::decide;
use super::outcome::keep_all;
use super::{Batch, Origin, WriteInfo};
use crate::write::command::Command;
use crate::write::database::{IdMap, MessageRow, WriteDatabase};
use crate::write::failure::Failure;

impl WriteInfo for NewMessage {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: Some(self.room_id) }
    }

    fn held_bytes(&self) -> usize {
        self.content.as_str().len()
    }

    fn stored_bytes(&self) -> u64 {
        let texts = self.content.as_str().len() + self.client_message_id.as_ref().map_or(0, |id| id.as_str().len());
        u64::try_from(texts + 200).unwrap_or(u64::MAX)
    }

    fn grows(&self) -> bool {
        true
    }

    /// The author, unless a CLIENT token posts for its own user.
    fn payer(&self, state: &TokenState) -> Option<UserId> {
        let own = state.token_type() == TokenType::Client && state.user_id() == self.author;
        (!own).then_some(self.author)
    }
}

/// Executes commands that are all messages.
pub(super) async fn append<D: WriteDatabase>(batch: &mut Batch<'_, D>, run: &mut [Command<D>]) -> Result<(), Failure> {
    let messages: Vec<&NewMessage> = run.iter().filter_map(Command::message).collect();
    let acting = acting(batch.database, &messages).await?;
    let facts = batch.database.append_facts(&messages, acting).await?;
    let decision = decide(&messages, &facts, &mut batch.quota);
    if !decision.rows.is_empty() {
        batch.database.insert_messages(&decision.rows, &decision.rooms).await?;
    }
    keep_all(batch.database, &decision.records).await?;
    batch.effects.events.extend(decision.rows.into_iter().map(event));
    run.iter_mut().zip(decision.answers).for_each(|(command, answer)| command.decided(answer));
    Ok(())
}

/// Finds the users as whom CLIENT tokens act.
async fn acting<D: WriteDatabase>(database: &mut D, messages: &[&NewMessage]) -> Result<IdMap<UserId, User>, Failure> {
    let mut found = IdMap::default();
    for user in messages.iter().filter_map(|message| message.actor.user()) {
        if !found.contains_key(&user)
            && let Some(row) = database.find_user(user).await?
        {
            found.insert(user, row.value);
        }
    }
    Ok(found)
}

fn event(row: MessageRow) -> Arc<Event> {
    let message = row.message;
    Arc::new(Event { room_id: message.room_id, seq: message.seq, at: message.created_at, kind: EventKind::Message(message) })
}
