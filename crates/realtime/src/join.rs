//! From a client's cursor to the present of a room, without losing or doubling anything at the seam.
//!
//! The replay is pulled page by page, no faster than the client takes it, and nothing live is kept for it meanwhile. When it
//! has reached the present it takes its subscription under the room's lock, where the room's newest event and the cursor are
//! compared.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::event::largest_event;
use chatsphere_core::store::{EventsPage, Newest};
use chatsphere_core::turns::Turn;
use chatsphere_core::{Access, EncodedLen, Epoch, Error, Event, Forbidden, Limits, RoomId, Seq, Shared, Unavailable};
use chatsphere_net::in_time;
use chatsphere_net::websocket::CloseCode;
use chatsphere_protocol::frames::{EventFrame, NotRecovered, PreviousMessages, ServerFrame};
use tokio::time::sleep;

use crate::frame::encode;
use crate::hub::Hub;
use crate::log::RoomLog;
use crate::room::{Room, Subscribed};
use crate::subscriber::Subscriber;
use crate::wire;

/// Events read and sent at a time.
const PAGE: usize = 100;
/// How often a replay looks whether there is memory for its next page, while there is none.
const MEMORY_LOOK: Duration = Duration::from_millis(20);
/// Other events shown with the newest messages.
const NEWEST_OTHERS: usize = 200;

/// What a client asks with `join`.
#[derive(Clone, Copy)]
pub struct Join<'a> {
    /// Which room.
    pub room: RoomId,
    /// With which eyes it may be read at this moment, or why not. Asked again before each read, since rights may change, or
    /// cease to be known, while a long replay is under way.
    pub rights: &'a (dyn Fn() -> Result<Access, Error> + Send + Sync),
    /// The last `seq` that the client has.
    pub since: Option<u64>,
    /// The epoch in which that was given.
    pub epoch: Option<&'a str>,
    /// The frame's `ref`.
    pub reference: Option<&'a str>,
}

/// Answers a join and lets the connection listen from then on. If it listens already, it is answered again and goes on. A
/// client that takes nothing of the replay for as long as `patience` is closed with 4008.
///
/// Answers with which eyes it listens from now on; `None` if nothing has changed in that.
///
/// # Errors
/// Before anything was sent: [`Forbidden::NotAMember`], [`chatsphere_core::NotFound::Room`], [`Error::Unavailable`]. A
/// membership that ends during the replay is told by `left`, which is the last of it, and is no error. An outage during the
/// replay is one: the client joins again. After the last page the client knows itself to be listening: an outage then closes
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
    let most_bytes = limits.outbound_queue_bytes;
    let mut replay = Replay {
        began_with: (join.rights)().ok(),
        most_bytes,
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
    /// What the rights were when the join came.
    began_with: Option<Access>,
    /// The bound of the client's queue.
    most_bytes: usize,
    patience: Duration,
    log: &'a L,
    room: &'a Room,
    subscriber: &'a Arc<Subscriber>,
    join: &'a Join<'a>,
    /// How many events are read at a time: fewer while a page holds more than the client takes at once.
    page: usize,
    /// The turn in which the page at hand was read.
    turn: Option<Turn>,
    /// Everything up to here was sent, or lies before what the client asked for.
    cursor: Seq,
    /// The connection listened already when its answer began. If it ceases to, it is told so by `left`, which ends the answer.
    is_subscribed: bool,
    /// The last page was sent.
    is_answered: bool,
}

/// Why a join comes to no good end.
enum Stop {
    /// The connection listened already and no longer does: `left` was sent, and nothing may follow it.
    Left,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How a join is answered.
enum Plan {
    /// Everything after `since` follows, of which this is the first page.
    Replay { since: Seq, first: EventsPage },
    /// The newest part follows.
    Newest { newest: Arc<Shared<Newest>>, reason: Option<NotRecovered> },
}

impl<L: RoomLog + ?Sized> Replay<'_, L> {
    /// Sends `join_confirmation` and all of `previous_messages`.
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
                    // As far as there is room: the rest is read again then, since nobody is to wait with a page in hand.
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

    /// Sends the newest part of the room. Most who join are sent the same, which is encoded once for all of them.
    async fn send_newest(&mut self, newest: &Shared<Newest>) -> Result<(), Stop> {
        let messages = newest.messages.iter().map(EncodedLen::encoded_len).sum::<usize>();
        let others = newest.others.iter().map(|event| event.encoded_len()).sum::<usize>();
        let fits = messages + others <= self.most_bytes / 4;
        if fits && self.join.reference.is_none() {
            let frame = newest.made(|newest| self.newest_frame(newest).unwrap_or_default());
            self.wait_for_room().await;
            self.deliver(frame)?;
            self.cursor = newest.head;
            return Ok(());
        }
        let messages = newest.messages.iter().map(Item::Message);
        let mut items: Vec<Item<'_>> = messages.chain(newest.others.iter().map(Item::from)).collect();
        items.sort_unstable_by_key(Item::seq);
        let parts = self.parts(items);
        for (place, part) in parts.iter().enumerate() {
            self.wait_for_room().await;
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
        // Rights may have changed while it waited for its turn.
        self.access()?;
        Ok(Plan::Newest { newest, reason })
    }

    fn is_of_another_epoch(&self) -> bool {
        self.join.epoch.is_some_and(|epoch| Epoch::from_stored(epoch) != self.log.epoch())
    }

    /// Sends what came after the answer, as live frames.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let page = self.read().await?;
        if page.events.is_empty() {
            // The room is ahead of its store: the database has lost what it had committed. Asking at once would spin.
            return Err(Unavailable::StoreAway.into());
        }
        let mut sent = 0;
        for part in self.parts(page.events.iter().map(Item::from)) {
            sent += part.len();
            let frames: Vec<_> = part.iter().filter_map(Item::frame).collect();
            self.subscriber.write_queue.send(self.counted(frames.concat().into()));
            self.cursor = part.last().map_or(self.cursor, Item::seq);
            if !self.subscriber.write_queue.has_room_now() {
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

    /// Waits until the client can take a page, and then for a turn to have one in memory: when everyone comes back at once,
    /// there are as many replays as connections. An error if the connection has ended, for which nothing is to be read.
    async fn take_turn(&mut self) -> Result<(), Error> {
        self.wait_for_client().await?;
        self.turn = self.log.turn().await;
        Ok(())
    }

    async fn wait_for_client(&mut self) -> Result<(), Error> {
        self.turn = None;
        self.wait_for_room().await;
        self.wait_for_memory().await;
        if self.subscriber.write_queue.is_ended() {
            return Err(Unavailable::Stopping.into());
        }
        Ok(())
    }

    /// Waits until the client has taken most of what was sent, or is given up. Nobody else waits for it meanwhile.
    async fn wait_for_room(&mut self) {
        let write_queue = &self.subscriber.write_queue;
        if write_queue.has_room_now() {
            return;
        }
        self.turn = None;
        loop {
            let before = write_queue.progress();
            if in_time(self.patience, write_queue.has_room()).await.is_ok() {
                return;
            }
            if write_queue.progress() == before {
                return write_queue.close(CloseCode::SLOW_CONSUMER, "no progress: connect again and join with since");
            }
        }
    }

    /// Waits until the node, and the user, may have another page in memory.
    async fn wait_for_memory(&self) {
        let write_queue = &self.subscriber.write_queue;
        let Some(account) = write_queue.account().filter(|account| !account.may_grow()) else { return };
        let grows = async {
            while !account.may_grow() && !write_queue.is_ended() {
                sleep(MEMORY_LOOK).await;
            }
        };
        if in_time(self.patience, grows).await.is_err() {
            write_queue.close(CloseCode::TRY_AGAIN_LATER, "too much waits to be read: connect again and join with since");
        }
    }

    /// Counts a page as long as it is in memory.
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
        // The room's word counts: the subscriber's own list still has the room while a removal is being told.
        self.is_subscribed =
            self.subscriber.is_in(self.join.room) && self.room.send_to_subscription(self.subscriber.id, &confirmation);
        if !self.is_subscribed {
            self.subscriber.write_queue.send(confirmation);
        }
    }

    /// Sends events as `previous_messages` of a size that the client's queue can hold, up to `end` or as far as there is room,
    /// and moves the cursor there. No events make one empty page.
    fn send_pages<'e>(&mut self, events: impl Iterator<Item = Item<'e>>, end: Seq, target: Seq) -> Result<(), Stop> {
        let parts = self.parts(events);
        let all = parts.iter().map(Vec::len).sum();
        let (mut parts, mut sent) = (parts.into_iter().peekable(), 0);
        loop {
            let part = parts.next().unwrap_or_default();
            sent += part.len();
            let to_seq = self.end_of(&part, parts.peek().is_some(), end);
            self.send_page(&part, to_seq, target)?;
            if to_seq == end || !self.subscriber.write_queue.has_room_now() {
                self.fit_page(sent, all);
                return Ok(());
            }
        }
    }

    /// What was read and not sent will be read again: the next page is about as large as what could be sent of this one.
    fn fit_page(&mut self, sent: usize, read: usize) {
        self.page = if sent < read { sent.max(1) } else { (self.page * 2).min(PAGE) };
    }

    /// Where the cursor stands after a part, which more of the page may follow.
    fn end_of(&self, part: &[Item<'_>], more: bool, end: Seq) -> Seq {
        match part.last() {
            // Messages older than what is shown whole come first and move no cursor.
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

    /// Cuts events into parts, each at most a quarter of the client's queue: together with what may wait already they never
    /// overflow it.
    fn parts<'e>(&self, events: impl IntoIterator<Item = Item<'e>>) -> Vec<Vec<Item<'e>>> {
        let most = self.most_bytes / 4;
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

    /// What a join that stopped early answers, and tells the client.
    fn end(&self, stop: Stop) -> Result<Option<Access>, Error> {
        let write_queue = &self.subscriber.write_queue;
        match stop {
            _ if write_queue.is_ended() => {}
            Stop::Left => {}
            // The store knows of a removal before the hub does: whoever has a subscription is told by it, after the last event
            // for them.
            Stop::Failed(Error::Forbidden(Forbidden::NotAMember)) if self.is_subscribed => {}
            Stop::Failed(Error::Forbidden(Forbidden::NotAMember)) if self.cursor > Seq::ZERO || self.is_answered => {
                let reason = if (self.join.rights)().ok() == self.began_with { "removed" } else { "rights_changed" };
                self.send(&ServerFrame::Left { room_id: self.join.room, reason: reason.into() });
            }
            Stop::Failed(_) if self.is_answered => {
                write_queue.close(CloseCode::TRY_AGAIN_LATER, "connect again and join with since");
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

/// An event of a page, which stays where it is.
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

    /// How long its JSON is at most.
    fn size(&self) -> usize {
        match self {
            Self::Message(message) => message.encoded_len(),
            Self::Other(event) => event.encoded_len(),
        }
    }

    /// Its frame, as if it came live.
    fn frame(&self) -> Option<Bytes> {
        match self {
            Self::Message(message) => encode(&EventFrame::from(wire::message(message))),
            Self::Other(event) => encode(&wire::event(event)),
        }
    }
}

/// Bytes of the largest frame that a client must take: a page, which is bounded by the queue, or an event that is larger alone.
pub fn largest_frame(limits: &Limits) -> usize {
    largest_event(limits).max(limits.outbound_queue_bytes / 4) + AROUND + 2 * limits.ref_bytes
}

/// What a page takes besides its events and its `ref`, at most.
const AROUND: usize = 1_024;

#[cfg(test)]
mod tests;
