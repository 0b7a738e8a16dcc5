//! Answers `join`: replays a room from the client's cursor up to the present and then subscribes the connection, without losing
//! or repeating an event.
//!
//! The replay reads page by page, no faster than the client does, and buffers no live events meanwhile. When it has caught up,
//! it compares its cursor with the room's newest event under the room's lock, and subscribes there.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::event::largest_event;
use chatsphere_core::store::{EventsPage, Newest};
use chatsphere_core::turns::Turn;
use chatsphere_core::{Access, EncodedLen, Epoch, Error, Event, Forbidden, Limits, RoomId, Seq, Shared, Unavailable};
use chatsphere_net::in_time;
use chatsphere_protocol::close;
use chatsphere_protocol::frames::{EventFrame, NotRecovered, PreviousMessages, ServerFrame};
use tokio::time::sleep;

use crate::frame::encode;
use crate::hub::Hub;
use crate::log::RoomLog;
use crate::room::{Room, Subscribed};
use crate::subscriber::Subscriber;
use crate::wire;

/// Maximum number of events per read.
const PAGE: usize = 100;
/// How often a replay that lacks a memory budget checks for it.
const MEMORY_POLL: Duration = Duration::from_millis(20);
/// Maximum number of other events sent with the newest messages.
const NEWEST_OTHERS: usize = 200;

/// The parameters of a `join`.
#[derive(Clone, Copy)]
pub struct Join<'a> {
    /// The room to join.
    pub room: RoomId,
    /// The caller's current access to the room, or why there is none. Evaluated before each read, because rights may change, or
    /// become unknown, during a long replay.
    pub rights: &'a (dyn Fn() -> Result<Access, Error> + Send + Sync),
    /// The last `seq` that the client has.
    pub since: Option<u64>,
    /// The epoch of that `seq`.
    pub epoch: Option<&'a str>,
    /// The `ref` of the frame.
    pub reference: Option<&'a str>,
}

/// Answers a join and subscribes the connection. If it is subscribed already, it gets a new answer and stays subscribed. A
/// client that reads nothing of the replay for `patience` is closed with 4008.
///
/// Returns the access of the new subscription; `None` if the connection was subscribed already or ended.
///
/// # Errors
/// Before anything was sent: [`Forbidden::NotAMember`], [`chatsphere_core::NotFound::Room`], [`Error::Unavailable`]. A
/// membership that ends during the replay is no error: the client gets `left` as the last frame. An outage during the replay is
/// an error, and the client joins again. After the last page the client assumes that it is subscribed; an outage then closes
/// the connection.
pub async fn join<L: RoomLog + ?Sized>(
    hub: &Hub,
    log: &L,
    subscriber: &Arc<Subscriber>,
    limits: &Limits,
    patience: Duration,
    join: Join<'_>,
) -> Result<Option<Access>, Error> {
    let pin = hub.pin(join.room);
    let max_bytes = limits.outbound_queue_bytes;
    let mut replay = Replay {
        began_with: (join.rights)().ok(),
        max_bytes,
        patience,
        log,
        room: &pin.room,
        subscriber,
        join: &join,
        page: PAGE,
        turn: None,
        cursor: Seq::ZERO,
        is_subscribed: false,
        is_answered: false,
    };
    if let Err(stop) = replay.answer(limits).await {
        return replay.end(stop);
    }
    if replay.is_subscribed {
        return Ok(None);
    }
    replay.is_answered = true;
    loop {
        let access = match replay.access() {
            Ok(access) => access,
            Err(error) => return replay.end(error.into()),
        };
        let spare = limits.outbound_queue_bytes.saturating_sub(subscriber.write_queue.waiting_bytes());
        let subscribed = pin.room.subscribe(
            subscriber,
            access,
            replay.cursor,
            spare,
            #[cfg(test)]
            hub.fault,
        );
        match subscribed {
            Subscribed::Yes { gap } => {
                if gap {
                    hub.ask_for_backfill(join.room);
                }
                hub.signals.joined(join.room, subscriber);
                return Ok(Some(access));
            }
            Subscribed::Gone => return Ok(None),
            Subscribed::Behind => {
                if let Err(error) = replay.catch_up().await {
                    return replay.end(error.into());
                }
            }
        }
    }
}

struct Replay<'a, L: ?Sized> {
    /// The access at the beginning of the join.
    began_with: Option<Access>,
    /// The bound of the client's write queue, in bytes.
    max_bytes: usize,
    patience: Duration,
    log: &'a L,
    room: &'a Room,
    subscriber: &'a Arc<Subscriber>,
    join: &'a Join<'a>,
    /// Events per read: fewer if a page holds more than the client reads at once.
    page: usize,
    /// The read turn of the current page.
    turn: Option<Turn>,
    /// Everything up to here was sent, or precedes what the client asked for.
    cursor: Seq,
    /// The connection was subscribed before this join. If that subscription ends, `left` ends the answer too.
    is_subscribed: bool,
    /// The last page was sent.
    is_answered: bool,
}

/// Why a join stopped early.
enum Stop {
    /// The earlier subscription ended: `left` was sent, and nothing may follow it.
    Left,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How to answer a join.
enum Plan {
    /// Replay everything after `since`; `first` is the first page.
    Replay { since: Seq, first: EventsPage },
    /// Send the newest messages and events.
    Newest { newest: Arc<Shared<Newest>>, reason: Option<NotRecovered> },
}

impl<L: RoomLog + ?Sized> Replay<'_, L> {
    /// Sends `join_confirmation` and all `previous_messages`.
    async fn answer(&mut self, limits: &Limits) -> Result<(), Stop> {
        match self.plan(limits).await? {
            Plan::Newest { newest, reason } => {
                self.confirm(newest.head, false, reason);
                self.cursor = newest.from.previous();
                self.send_newest(&newest).await
            }
            Plan::Replay { since, first } => {
                let target = first.head;
                self.confirm(target, true, None);
                self.cursor = since;
                let mut page = first;
                loop {
                    page.events.retain(|event| event.seq <= target);
                    let end = page.events.last().map_or(target, |event| event.seq);
                    // Send as much as the queue takes; the remainder is read again later, so that no page stays in memory while
                    // waiting.
                    self.send_pages(page.events.iter().map(Item::from), end, target)?;
                    drop(page);
                    if self.cursor >= target {
                        return Ok(());
                    }
                    page = self.read().await?;
                }
            }
        }
    }

    /// Sends the newest part of the room. Joins without a `ref` get the same frame, which is encoded once.
    async fn send_newest(&mut self, newest: &Shared<Newest>) -> Result<(), Stop> {
        let messages = newest.messages.iter().map(EncodedLen::encoded_len).sum::<usize>();
        let others = newest.others.iter().map(|event| event.encoded_len()).sum::<usize>();
        let fits = messages + others <= self.max_bytes / 4;
        if fits && self.join.reference.is_none() {
            let frame = newest.made(|newest| self.newest_frame(newest).unwrap_or_default());
            self.wait_for_capacity().await;
            self.deliver(frame)?;
            self.cursor = newest.head;
            return Ok(());
        }
        let messages = newest.messages.iter().map(Item::Message);
        let mut items: Vec<Item<'_>> = messages.chain(newest.others.iter().map(Item::from)).collect();
        items.sort_unstable_by_key(Item::seq);
        let parts = self.parts(items);
        for (place, part) in parts.iter().enumerate() {
            self.wait_for_capacity().await;
            let to_seq = self.end_of(part, parts.get(place + 1).is_some(), newest.head);
            self.send_page(part, to_seq, newest.head)?;
        }
        if parts.is_empty() {
            self.send_page(&[], newest.head, newest.head)?;
        }
        Ok(())
    }

    fn newest_frame(&self, newest: &Newest) -> Option<Bytes> {
        encode(&ServerFrame::PreviousMessages(PreviousMessages {
            room_id: self.join.room,
            messages: newest.messages.iter().map(wire::message).collect(),
            events: newest.others.iter().map(|event| wire::event(event)).collect(),
            from_seq: newest.from,
            to_seq: newest.head,
            more: false,
            reference: None,
        }))
    }

    async fn plan(&mut self, limits: &Limits) -> Result<Plan, Error> {
        let room = self.join.room;
        let reason = match self.join.since {
            None => None,
            Some(_) if self.is_of_another_epoch() => Some(NotRecovered::EpochChanged),
            Some(since) => {
                self.take_turn().await?;
                let first = self.log.events_after(room, self.access()?, Seq::new(since), PAGE).await?;
                if since > first.head.get() {
                    Some(NotRecovered::SinceAhead)
                } else if first.head.get() - since > limits.replay_events {
                    Some(NotRecovered::TooManyEvents)
                } else {
                    return Ok(Plan::Replay { since: Seq::new(since), first });
                }
            }
        };
        self.wait_for_client().await?;
        let (newest, turn) = self.log.newest(room, self.access()?, (limits.page_default, NEWEST_OTHERS)).await?;
        self.turn = turn;
        // Rights may have changed while waiting for the turn.
        self.access()?;
        Ok(Plan::Newest { newest, reason })
    }

    fn is_of_another_epoch(&self) -> bool {
        self.join.epoch.is_some_and(|epoch| Epoch::from_stored(epoch) != self.log.epoch())
    }

    /// Sends events that arrived after the answer, as live frames.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let page = self.read().await?;
        if page.events.is_empty() {
            // The room is ahead of the store: the database lost committed events. Retrying at once would spin.
            return Err(Unavailable::StoreAway.into());
        }
        let mut sent = 0;
        for part in self.parts(page.events.iter().map(Item::from)) {
            sent += part.len();
            let frames: Vec<_> = part.iter().filter_map(Item::frame).collect();
            self.subscriber.write_queue.send(self.counted(frames.concat().into()));
            self.cursor = part.last().map_or(self.cursor, Item::seq);
            if !self.subscriber.write_queue.has_capacity() {
                break;
            }
        }
        self.fit_page(sent, page.events.len());
        Ok(())
    }

    fn access(&self) -> Result<Access, Error> {
        match (self.join.rights)() {
            Err(Error::Forbidden(_)) => Err(Forbidden::NotAMember.into()),
            rights => rights,
        }
    }

    async fn read(&mut self) -> Result<EventsPage, Error> {
        self.take_turn().await?;
        self.log.events_after(self.join.room, self.access()?, self.cursor, self.page).await
    }

    /// Waits until the client can take a page, and then for a turn to keep one in memory: after a mass reconnect there are as
    /// many replays as connections. Fails if the connection has ended.
    async fn take_turn(&mut self) -> Result<(), Error> {
        self.wait_for_client().await?;
        self.turn = self.log.turn().await;
        Ok(())
    }

    async fn wait_for_client(&mut self) -> Result<(), Error> {
        self.turn = None;
        self.wait_for_capacity().await;
        self.wait_for_memory().await;
        if self.subscriber.write_queue.is_ended() {
            return Err(Unavailable::Stopping.into());
        }
        Ok(())
    }

    /// Waits until the client has read most of what was sent, or is closed. Releases the turn meanwhile.
    async fn wait_for_capacity(&mut self) {
        let write_queue = &self.subscriber.write_queue;
        if write_queue.has_capacity() {
            return;
        }
        self.turn = None;
        loop {
            let before = write_queue.progress();
            if in_time(self.patience, write_queue.wait_for_capacity()).await.is_ok() {
                return;
            }
            if write_queue.progress() == before {
                return write_queue.close(close::SLOW_CONSUMER, "no progress: connect again and join with since");
            }
        }
    }

    /// Waits until the memory budgets of the node and the user allow another page.
    async fn wait_for_memory(&self) {
        let write_queue = &self.subscriber.write_queue;
        let Some(account) = write_queue.account().filter(|account| !account.may_grow()) else { return };
        let grows = async {
            while !account.may_grow() && !write_queue.is_ended() {
                sleep(MEMORY_POLL).await;
            }
        };
        if in_time(self.patience, grows).await.is_err() {
            write_queue.close(close::TRY_AGAIN_LATER, "too much data is unread: connect again and join with since");
        }
    }

    /// Counts a page against the memory budgets until it is freed.
    fn counted(&self, frame: Bytes) -> Bytes {
        match self.subscriber.write_queue.account() {
            Some(account) => account.hold(frame),
            None => frame,
        }
    }

    fn confirm(&mut self, seq: Seq, recovered: bool, reason: Option<NotRecovered>) {
        let epoch = self.log.epoch();
        let confirmation = encode(&ServerFrame::JoinConfirmation {
            room_id: self.join.room,
            seq,
            epoch: epoch.as_str().into(),
            recovered,
            reason,
            reference: self.reference(),
        });
        let Some(confirmation) = confirmation else { return };
        // Only the room knows for certain: during a removal the subscriber's own list may still contain the room.
        self.is_subscribed =
            self.subscriber.is_in(self.join.room) && self.room.send_to_subscription(self.subscriber.id, &confirmation);
        if !self.is_subscribed {
            self.subscriber.write_queue.send(confirmation);
        }
    }

    /// Sends events as `previous_messages` of a size that fits the client's queue, up to `end` or until the queue is full, and
    /// moves the cursor there. No events give one empty page.
    fn send_pages<'e>(&mut self, events: impl Iterator<Item = Item<'e>>, end: Seq, target: Seq) -> Result<(), Stop> {
        let parts = self.parts(events);
        let all = parts.iter().map(Vec::len).sum();
        let (mut parts, mut sent) = (parts.into_iter().peekable(), 0);
        loop {
            let part = parts.next().unwrap_or_default();
            sent += part.len();
            let to_seq = self.end_of(&part, parts.peek().is_some(), end);
            self.send_page(&part, to_seq, target)?;
            if to_seq == end || !self.subscriber.write_queue.has_capacity() {
                self.fit_page(sent, all);
                return Ok(());
            }
        }
    }

    /// Unsent events are read again: the next page is about as large as the part that could be sent.
    fn fit_page(&mut self, sent: usize, read: usize) {
        self.page = if sent < read { sent.max(1) } else { (self.page * 2).min(PAGE) };
    }

    /// The cursor after this part of a page.
    fn end_of(&self, part: &[Item<'_>], more: bool, end: Seq) -> Seq {
        match part.last() {
            // Messages older than the complete range come first and do not move the cursor.
            Some(last) if more => last.seq().max(self.cursor),
            _ => end,
        }
    }

    fn send_page(&mut self, page: &[Item<'_>], to_seq: Seq, target: Seq) -> Result<(), Stop> {
        let mut messages = Vec::new();
        let mut events = Vec::new();
        for item in page {
            match item {
                Item::Message(message) => messages.push(wire::message(message)),
                Item::Other(event) => events.push(wire::event(event)),
            }
        }
        let page = encode(&ServerFrame::PreviousMessages(PreviousMessages {
            room_id: self.join.room,
            messages,
            events,
            from_seq: self.cursor.next(),
            to_seq,
            more: to_seq < target,
            reference: self.reference(),
        }));
        if let Some(page) = page {
            self.deliver(self.counted(page))?;
        }
        self.cursor = to_seq;
        Ok(())
    }

    /// Splits events into parts of at most a quarter of the client's queue, so that a part never overflows the queue after
    /// `wait_for_capacity`.
    fn parts<'e>(&self, events: impl IntoIterator<Item = Item<'e>>) -> Vec<Vec<Item<'e>>> {
        let most = self.max_bytes / 4;
        let mut parts: Vec<Vec<Item<'e>>> = Vec::new();
        let mut bytes = 0;
        for event in events {
            let size = event.size();
            match parts.last_mut() {
                Some(part) if bytes + size <= most => {
                    part.push(event);
                    bytes += size;
                }
                _ => {
                    parts.push(vec![event]);
                    bytes = size;
                }
            }
        }
        parts
    }

    /// Sends a part of the answer.
    fn deliver(&self, frame: Bytes) -> Result<(), Stop> {
        if !self.is_subscribed {
            self.subscriber.write_queue.send(frame);
            return Ok(());
        }
        if self.room.send_to_subscription(self.subscriber.id, &frame) { Ok(()) } else { Err(Stop::Left) }
    }

    /// The outcome of a join that stopped early; notifies the client if necessary.
    fn end(&self, stop: Stop) -> Result<Option<Access>, Error> {
        let write_queue = &self.subscriber.write_queue;
        match stop {
            _ if write_queue.is_ended() => {}
            Stop::Left => {}
            // The store knows of a removal before the hub does. The subscription sends `left` after the last event for this
            // connection.
            Stop::Failed(Error::Forbidden(Forbidden::NotAMember)) if self.is_subscribed => {}
            Stop::Failed(Error::Forbidden(Forbidden::NotAMember)) if self.cursor > Seq::ZERO || self.is_answered => {
                let reason = if (self.join.rights)().ok() == self.began_with { "removed" } else { "rights_changed" };
                self.send(&ServerFrame::Left { room_id: self.join.room, reason: reason.into() });
            }
            Stop::Failed(_) if self.is_answered => {
                write_queue.close(close::TRY_AGAIN_LATER, "connect again and join with since");
            }
            Stop::Failed(error) => return Err(error),
        }
        Ok(None)
    }

    fn reference(&self) -> Option<Cow<'_, str>> {
        self.join.reference.map(Cow::Borrowed)
    }

    fn send(&self, frame: &ServerFrame<'_>) {
        if let Some(frame) = encode(frame) {
            self.subscriber.write_queue.send(frame);
        }
    }
}

/// A borrowed event of a page.
#[derive(Clone, Copy)]
enum Item<'a> {
    Message(&'a chatsphere_core::Message),
    Other(&'a Event),
}

impl<'a> From<&'a Arc<Event>> for Item<'a> {
    fn from(event: &'a Arc<Event>) -> Self {
        event.message().map_or(Self::Other(event), Self::Message)
    }
}

impl Item<'_> {
    fn seq(&self) -> Seq {
        match self {
            Self::Message(message) => message.seq,
            Self::Other(event) => event.seq,
        }
    }

    /// Upper bound of its JSON length.
    fn size(&self) -> usize {
        match self {
            Self::Message(message) => message.encoded_len(),
            Self::Other(event) => event.encoded_len(),
        }
    }

    /// Its frame, as for live delivery.
    fn frame(&self) -> Option<Bytes> {
        match self {
            Self::Message(message) => encode(&EventFrame::from(wire::message(message))),
            Self::Other(event) => encode(&wire::event(event)),
        }
    }
}

/// The size in bytes of the largest frame that a client must accept: a page, bounded by the queue, or a single larger event.
pub fn largest_frame(limits: &Limits) -> usize {
    largest_event(limits).max(limits.outbound_queue_bytes / 4) + ENVELOPE + 2 * limits.ref_bytes
}

/// Upper bound of a page's JSON besides events and `ref`.
const ENVELOPE: usize = 1_024;

#[cfg(test)]
mod tests;
