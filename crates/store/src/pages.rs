//! Cuts rows into pages, for every database. Each page is read with one row more than its limit, which shows whether there is
//! another page.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::iter;
use std::sync::Arc;

use chatsphere_core::store::{Cursor, EventsPage, History, Newest, PAGE_BYTES, Page, RoomVersion, Versioned};
use chatsphere_core::{
    EncodedLen, Event, EventKind, EventMessage, Message, MessageId, MessageInRoom, MessageVersion, Seq, UserRef,
};

/// The place of a message's first text among its versions, as a [`Cursor`]. The later texts are rows of another table, with
/// keys above 0.
const FIRST_TEXT: i64 = 0;

/// Returns the number of rows to read for a page of `limit`.
pub(crate) fn rows_for(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// Returns `limit` as a number of rows, for a read without an additional row.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The items of a page, and the first item after it, if one was read.
pub(crate) struct Cut<T> {
    kept: Vec<T>,
    omitted: Option<T>,
}

/// The bytes that a page has left.
struct Space(usize);

impl Space {
    const fn of_a_page() -> Self {
        Self(PAGE_BYTES)
    }

    /// Whether an item still fits into the page behind `before` others. The first always does, because the page would otherwise
    /// stay empty and no reader would get past the item.
    fn takes(&mut self, item: &impl EncodedLen, before: usize) -> bool {
        let left = self.0.checked_sub(item.encoded_len());
        self.0 = left.unwrap_or(0);
        left.is_some() || before == 0
    }
}

/// Reads from `rows` as many items as a page of `limit` and [`PAGE_BYTES`] holds, and the next one. The other rows are not
/// read.
pub(crate) fn cut<T, I: EncodedLen, E>(
    rows: impl IntoIterator<Item = Result<T, E>>,
    limit: usize,
    item: impl Fn(&T) -> &I,
) -> Result<Cut<T>, E> {
    let (mut kept, mut space) = (Vec::with_capacity(limit.min(64)), Space::of_a_page());
    for row in rows {
        let row = row?;
        if kept.len() >= limit || !space.takes(item(&row), kept.len()) {
            return Ok(Cut { kept, omitted: Some(row) });
        }
        kept.push(row);
    }
    Ok(Cut { kept, omitted: None })
}

/// Cuts a page that has only messages.
pub(crate) fn cut_messages<E>(rows: impl IntoIterator<Item = Result<Message, E>>, limit: usize) -> Result<Cut<Message>, E> {
    // Names that other threads free are a good part of a page's cost, so those of the last authors are shared.
    let mut authors: [Option<UserRef>; 4] = Default::default();
    let mut next = 0;
    let shared = rows.into_iter().map(|row| {
        let mut message = row?;
        match authors.iter().flatten().find(|author| author.id == message.author.id) {
            Some(author) => message.author.username = author.username.clone(),
            None => {
                authors[next] = Some(message.author.clone());
                next = (next + 1) % authors.len();
            }
        }
        Ok(message)
    });
    cut(shared, limit, |message| message)
}

/// Makes a page of messages of all rooms, from rows with their places.
pub(crate) fn messages_page(cut: Cut<(i64, MessageInRoom)>) -> Page<MessageInRoom> {
    listed(cut)
}

/// Makes a page of a list, from rows with their places in the list's order.
pub(crate) fn page<T: EncodedLen>(rows: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let Ok(cut) = cut::<_, _, Infallible>(rows.into_iter().map(Ok), limit, |(_, item)| item);
    listed(cut)
}

/// Makes a page of a list, from rows with their places in the list's order.
pub(crate) fn listed<T>(cut: Cut<(i64, T)>) -> Page<T> {
    let next = cut.kept.last().filter(|_| cut.omitted.is_some()).map(|(place, _)| Cursor(*place));
    Page { items: cut.kept.into_iter().map(|(_, item)| item).collect(), next }
}

/// Makes a page of history on one side of a place. `nearest` has the messages from there on, nearest first; with `is_older` on
/// the side of older messages. `beyond` says whether there are messages on the other side.
pub(crate) fn history(nearest: Cut<Message>, is_older: bool, beyond: bool, version: RoomVersion) -> Versioned<History> {
    let (mut messages, more) = (nearest.kept, nearest.omitted.is_some());
    let (has_older, has_newer) = if is_older { (more, beyond) } else { (beyond, more) };
    if is_older {
        messages.reverse();
    }
    Versioned { version, page: History { messages, has_older, has_newer, head: version.head } }
}

/// Makes a page of history around a place. `newer` has the messages from the place on, oldest first; `older` those before it,
/// newest first. The page takes from both sides in turn, and from one side what the other lacks.
pub(crate) fn history_around(
    older: Cut<Message>,
    newer: Cut<Message>,
    limit: usize,
    version: RoomVersion,
) -> Versioned<History> {
    let (more_older, more_newer) = (older.omitted.is_some(), newer.omitted.is_some());
    let (mut older, mut newer) = (older.kept.into_iter().peekable(), newer.kept.into_iter().peekable());
    let (mut messages, mut space) = (VecDeque::new(), Space::of_a_page());
    let mut is_newer_next = true;
    while messages.len() < limit {
        let is_newer = newer.peek().is_some() && (is_newer_next || older.peek().is_none());
        let side = if is_newer { &mut newer } else { &mut older };
        let Some(message) = side.next_if(|next| space.takes(next, messages.len())) else { break };
        if is_newer {
            messages.push_back(message)
        } else {
            messages.push_front(message)
        }
        is_newer_next = !is_newer;
    }
    let (has_older, has_newer) = (more_older || older.peek().is_some(), more_newer || newer.peek().is_some());
    Versioned { version, page: History { messages: messages.into(), has_older, has_newer, head: version.head } }
}

/// Cuts a page that has only events other than messages.
pub(crate) fn cut_events<E>(rows: impl IntoIterator<Item = Result<Event, E>>, limit: usize) -> Result<Cut<Event>, E> {
    cut(rows, limit, |event| event)
}

/// Merges messages and other events, each ascending, into one page.
pub(crate) fn events(messages: Cut<Message>, others: Cut<Event>, head: Seq, limit: usize) -> EventsPage {
    // The page ends before the first event that was omitted, so that it has no gap.
    let end = [messages.omitted.map(|omitted| omitted.seq), others.omitted.map(|omitted| omitted.seq)];
    let end = end.into_iter().flatten().min().unwrap_or(Seq::MAX);
    let messages = messages.kept.into_iter().map(message_event);
    let mut events: Vec<Event> = messages.chain(others.kept).filter(|event| event.seq < end).collect();
    events.sort_unstable_by_key(|event| event.seq);
    events.truncate(limit);
    let mut space = Space::of_a_page();
    let end = events.iter().enumerate().find(|(before, event)| !space.takes(*event, *before)).map(|(before, _)| before);
    events.truncate(end.unwrap_or(limit));
    // Most pages have no event about a message.
    if events.iter_mut().any(|event| event.kind.message_mut().is_some()) {
        let posted: Vec<MessageId> = events.iter().filter_map(|event| event.message()).map(|message| message.id).collect();
        supersede(posted.into_iter(), events.iter_mut().rev());
    }
    EventsPage { events: events.into_iter().map(Arc::new).collect(), head }
}

/// Removes the message from events whose message the page shows in a later state, so that a message that was edited often is in
/// the page once. `posted` are the messages that the page shows themselves; `events` are the others, newest first.
fn supersede<'a>(posted: impl Iterator<Item = MessageId>, events: impl Iterator<Item = &'a mut Event>) {
    let mut events = events.filter_map(|event| Some((event.seq, event.kind.message_mut()?))).peekable();
    if events.peek().is_none() {
        return;
    }
    let (posted, mut shown): (HashSet<MessageId>, _) = (posted.collect(), HashSet::new());
    for (seq, affected) in events {
        let (key, EventMessage::Shown(message)) = (affected.key(), &*affected) else { continue };
        let is_later_posted = posted.contains(&key.id) && message.change_seq() > seq;
        if is_later_posted || !shown.insert(key.id) {
            *affected = EventMessage::Superseded(key);
        }
    }
}

/// Makes a page of a message's versions. `later` are the versions from the second on, newest first, each with the key of its
/// text and of the one before, and with one row more than the limit (see [`rows_for`]). `start` is the key of the newest one.
/// The key is absent where the `first` version is next, and 0 where the versions before were dropped.
pub(crate) fn versions<E>(
    start: Option<i64>,
    later: impl IntoIterator<Item = Result<((i64, MessageVersion), Option<i64>), E>>,
    first: MessageVersion,
    limit: usize,
) -> Result<Page<MessageVersion>, E> {
    let before = Cell::new(start);
    let later = later.into_iter().map(|row| {
        let (row, prev) = row?;
        before.set(prev);
        Ok(row)
    });
    let first = iter::once(Ok((FIRST_TEXT, first))).filter(|_| before.get().is_none());
    Ok(listed(cut(later.chain(first), limit, |(_, version)| version)?))
}

fn message_event(message: Message) -> Event {
    Event { room_id: message.room_id, seq: message.seq, at: message.created_at, kind: EventKind::Message(message) }
}

/// Makes the newest part of a room, from messages and other events, newest first.
pub(crate) fn newest(messages: Cut<Message>, others: Cut<Event>, version: RoomVersion) -> Versioned<Newest> {
    let (mut messages, omitted) = (messages.kept, messages.omitted.map(|message| message.seq));
    // If the page has all messages, it begins with the room; otherwise with the oldest message that it has.
    let mut from = match omitted {
        None => Seq::ZERO.next(),
        Some(omitted) => messages.last().map_or(omitted.next(), |oldest| oldest.seq),
    };
    if let Some(omitted) = others.omitted.filter(|omitted| omitted.seq >= from) {
        from = omitted.seq.next();
    }
    let mut others = others.kept;
    others.retain(|event| event.seq >= from);
    supersede(messages.iter().map(|message| message.id), others.iter_mut());
    messages.reverse();
    others.reverse();
    let others = others.into_iter().map(Arc::new).collect();
    Versioned { version, page: Newest { messages, others, from, head: version.head } }
}
