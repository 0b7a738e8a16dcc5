//! Cuts what a database read into pages, the same for every database. Each page is read with one row more than it holds,
//! which tells whether there is more.

use std::sync::Arc;

use chatsphere_core::store::{Cursor, EventsPage, History, HistoryRange, Newest, Page};
use chatsphere_core::{Absent, Access, Denial, Error, Event, EventKind, Message, Seq};

/// How many rows to read for a page of `limit`.
pub(crate) fn rows_for(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// How many rows `limit` is, for a read that needs none beyond it.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Whether a read may go on. `found` tells of an existing room whether the reader is a member.
pub(crate) fn admit(access: Access, found: Option<bool>) -> Result<(), Error> {
    match (access, found) {
        (Access::Any, Some(_)) | (Access::Member(_), Some(true)) => Ok(()),
        (Access::Any, None) => Err(Error::Absent(Absent::Room)),
        (Access::Member(_), _) => Err(Denial::NotAMember.into()),
    }
}

/// A page of a list from rows with their places, in the list's order.
pub(crate) fn page<T>(mut rows: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(place, _)| Cursor(*place));
    Page { items: rows.into_iter().map(|(_, item)| item).collect(), next }
}

/// A page of history from the messages nearest to where the range begins, nearest first. `beyond` tells whether there are
/// messages on the other side of that.
pub(crate) fn history(mut nearest: Vec<Message>, range: HistoryRange, beyond: bool, head: Seq, limit: usize) -> History {
    let more = nearest.len() > limit;
    nearest.truncate(limit);
    let (has_older, has_newer) = match range {
        HistoryRange::Newest | HistoryRange::Before(_) => {
            nearest.reverse();
            (more, beyond)
        }
        HistoryRange::After(_) => (beyond, more),
    };
    History { messages: nearest, has_older, has_newer, head }
}

/// The two kinds of events, each ascending, as one page.
pub(crate) fn events(messages: Vec<Message>, others: Vec<Event>, head: Seq, limit: usize) -> EventsPage {
    let mut events: Vec<Event> = messages.into_iter().map(message_event).chain(others).collect();
    events.sort_unstable_by_key(|event| event.seq);
    events.truncate(limit);
    EventsPage { events: events.into_iter().map(Arc::new).collect(), head }
}

fn message_event(message: Message) -> Event {
    Event { room_id: message.room_id, seq: message.seq, at: message.created_at, kind: EventKind::Message(message) }
}

/// The newest part of a room, from both kinds of events, newest first, each read with [`rows_for`] its limit.
pub(crate) fn newest(
    mut messages: Vec<Message>,
    mut others: Vec<Event>,
    message_limit: usize,
    other_limit: usize,
    head: Seq,
) -> Newest {
    let omitted = messages.get(message_limit).map(|message| message.seq);
    messages.truncate(message_limit);
    // With all messages here, everything from the beginning is; else everything from the oldest of them on.
    let mut from = match omitted {
        None => Seq::ZERO.next(),
        Some(omitted) => messages.last().map_or(omitted.next(), |oldest| oldest.seq),
    };
    if let Some(omitted) = others.get(other_limit).filter(|omitted| omitted.seq >= from) {
        from = omitted.seq.next();
    }
    others.truncate(other_limit);
    others.retain(|event| event.seq >= from);
    messages.reverse();
    others.reverse();
    Newest { messages, others: others.into_iter().map(Arc::new).collect(), from, head }
}
