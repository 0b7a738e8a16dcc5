//! Appending a run of messages: what is known is asked of the database once for all, then decided, then written at once.

use std::sync::Arc;

use chatsphere_core::store::{Done, NewMessage};
use chatsphere_core::{Error, Event, EventKind, Message};

use super::Effects;
use super::decide::decide;
use super::outcome::keep_all;
use super::quota::Quota;
use crate::write::command::Request;
use crate::write::database::{MessageRow, WriteDatabase};
use crate::write::failure::Failure;

pub(super) fn as_message<'a>(request: &&'a Request) -> Option<&'a NewMessage> {
    if let Request::Append(message) = request { Some(message) } else { None }
}

pub(super) async fn append<D: WriteDatabase>(
    database: &mut D,
    messages: &[&NewMessage],
    quota: &mut Quota,
    effects: &mut Effects,
) -> Result<Vec<Result<Done<Message>, Error>>, Failure> {
    let facts = database.append_facts(messages).await?;
    let decision = decide(messages, &facts, quota);
    if !decision.rows.is_empty() {
        database.insert_messages(&decision.rows, &decision.rooms).await?;
    }
    keep_all(database, &decision.memories).await?;
    effects.events.extend(decision.rows.into_iter().map(event));
    Ok(decision.answers)
}

fn event(row: MessageRow) -> Arc<Event> {
    let message = row.message;
    Arc::new(Event { room_id: message.room_id, seq: message.seq, at: message.created_at, kind: EventKind::Message(message) })
}
