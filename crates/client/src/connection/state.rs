//! The state machine of a connection: rooms, unacknowledged messages, frames to send, updates to deliver. No I/O; the driver
//! drives it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chatsphere_protocol::frames::{ClientFrame, ErrorFrame, Hello, Incoming, encode_client_frame};
use chatsphere_types::RoomId;
use tokio::time::Instant;

use super::command::{Command, JoinReply, Joined, SendReply};
use super::outbox::Outbox;
use super::room_cursor::{Cursor, PageVerdict, RoomCursor, Verdict};
use super::update::Update;
use crate::error::RequestError;
use crate::event::Event;
use crate::frame::{Frame, JoinConfirmation, Page};

/// Maximum number of joins in progress: each may cause a long replay, and the server limits frames.
const MAX_JOINS: usize = 16;
/// The delay if the server does not name one.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Maximum number of consecutive gaps without an event in between that are handled by joining again. Beyond it the connection
/// is replaced.
const MAX_GAPS: u32 = 3;

/// Encodes a frame. Frames of strings and numbers can always be encoded.
pub(crate) fn encode(incoming: &Incoming<'_>) -> Option<String> {
    encode_client_frame(incoming).ok()
}

/// The connection must be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

/// An update, and the position in a room that it advances the application to.
pub(crate) type Delivery = (Update, Option<(RoomId, Cursor)>);

pub(crate) struct State {
    connected: bool,
    rooms: HashMap<RoomId, Room>,
    /// Rooms to join as soon as the limit permits.
    to_join: VecDeque<RoomId>,
    /// Rooms to join after a delay.
    later: Vec<(Instant, RoomId)>,
    outbox: Outbox<SendReply>,
    control: VecDeque<String>,
    deliveries: VecDeque<Delivery>,
    last_reference: u64,
}

struct Room {
    cursor: RoomCursor,
    /// The result of the last join, for callers that join again.
    joined: Option<Joined>,
    waiting: Vec<JoinReply>,
    gaps: u32,
}

impl State {
    pub(crate) fn new(ordered: bool) -> Self {
        Self {
            connected: false,
            rooms: HashMap::new(),
            to_join: VecDeque::new(),
            later: Vec::new(),
            outbox: Outbox::new(ordered),
            control: VecDeque::new(),
            deliveries: VecDeque::new(),
            last_reference: 0,
        }
    }

    /// Handles a command.
    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Join { room, since, reply } => self.join(room, since, reply),
            Command::Leave { room, reply } => {
                if let Some(left) = self.rooms.remove(&room) {
                    left.refuse(&RequestError::Left);
                    self.send_leave(room);
                }
                let _ = reply.send(());
            }
            Command::Send { room, message, reply } => self.outbox.push(room, message, reply),
            Command::Signal(frame) if self.connected => self.send(frame, "t"),
            Command::Signal(_) => {}
        }
    }

    fn join(&mut self, room: RoomId, since: Option<Cursor>, reply: JoinReply) {
        if let Some(known) = self.rooms.get_mut(&room) {
            match known.joined {
                Some(joined) => drop(reply.send(Ok(joined))),
                None => known.waiting.push(reply),
            }
            return;
        }
        self.rooms.insert(room, Room { cursor: RoomCursor::new(since), joined: None, waiting: vec![reply], gaps: 0 });
        self.to_join.push_back(room);
    }

    /// Sends a new token.
    pub(crate) fn authenticate(&mut self, token: &str) {
        if self.connected {
            self.send(ClientFrame::Auth { token: token.into() }, "a");
        }
    }

    /// Sends a ping.
    pub(crate) fn ping(&mut self) {
        self.send(ClientFrame::Ping, "p");
    }

    /// Handles the server's `hello`.
    pub(crate) fn connected(&mut self, hello: &Hello) {
        self.connected = true;
        self.outbox.set_most_in_flight(hello.limits.unanswered_sends);
        self.to_join = self.rooms.keys().copied().collect();
        self.later.clear();
        self.update(Update::Connected { user: hello.user_id, connection: hello.connection_id, expires_at: hello.expires_at });
    }

    /// Handles a disconnect.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.control.clear();
        self.outbox.disconnected();
        for room in self.rooms.values_mut() {
            room.cursor.away();
        }
    }

    /// Handles a frame of the server.
    pub(crate) fn frame(&mut self, frame: Frame, now: Instant) -> Result<(), Broken> {
        match frame {
            Frame::Hello(_) | Frame::LeaveConfirmation | Frame::Pong | Frame::Closing(_) | Frame::Unknown => {}
            Frame::AuthOk(auth) => self.update(Update::Authenticated { expires_at: auth.expires_at }),
            Frame::JoinConfirmation(confirmation) => self.confirmed(&confirmation),
            Frame::Page(page) => self.page(page)?,
            Frame::Event(event) => self.event(event)?,
            Frame::Ack(ack) => {
                if let Some(reply) = number(ack.reference.as_deref()).and_then(|number| self.outbox.answered(number)) {
                    let _ = reply.reply.send(Ok(ack));
                }
            }
            Frame::Left { room_id, reason } => {
                if self.rooms.get(&room_id).is_some_and(|room| !room.cursor.is_away()) {
                    self.left(room_id, reason);
                }
            }
            Frame::Signal(room, update) if self.rooms.contains_key(&room) => self.update(update),
            Frame::Signal(..) => {}
            Frame::Error(error) => self.error(error, now),
        }
        Ok(())
    }

    fn confirmed(&mut self, confirmation: &JoinConfirmation) {
        let Some(room) = self.rooms.get_mut(&confirmation.room_id) else { return };
        let Some(confirmed) = room.cursor.confirmed(confirmation) else { return };
        let joined = Joined { seq: confirmation.seq, recovered: confirmed.recovered };
        room.joined = Some(joined);
        for reply in room.waiting.drain(..) {
            let _ = reply.send(Ok(joined));
        }
        if let Some((reason, before)) = confirmed.lost {
            self.update(Update::NotRecovered { room: confirmation.room_id, reason, before });
        }
    }

    fn page(&mut self, page: Page) -> Result<(), Broken> {
        let id = page.room_id;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        match room.cursor.page(page) {
            PageVerdict::Ignore => Ok(()),
            PageVerdict::Gap => self.gap(id),
            PageVerdict::Deliver { events, caught_up } => {
                room.gaps = 0;
                let cursor = room.cursor.cursor().cloned();
                let epoch = cursor.as_ref().and_then(|cursor| cursor.epoch.clone());
                for event in events {
                    let at = Cursor { seq: event.seq, epoch: epoch.clone() };
                    self.deliveries.push_back((Update::Event(event), Some((id, at))));
                }
                if let (true, Some(cursor)) = (caught_up, cursor) {
                    self.deliveries.push_back((Update::CaughtUp { room: id, cursor: cursor.clone() }, Some((id, cursor))));
                }
                Ok(())
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Broken> {
        let id = event.room_id;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        match room.cursor.live(event.seq) {
            Verdict::Ignore => Ok(()),
            Verdict::Gap => self.gap(id),
            Verdict::Deliver => {
                room.gaps = 0;
                let place = room.cursor.cursor().map(|cursor| (id, cursor.clone()));
                self.deliveries.push_back((Update::Event(event), place));
                Ok(())
            }
        }
    }

    /// Handles a gap. Leaving first makes the server replay before it sends live events again.
    fn gap(&mut self, id: RoomId) -> Result<(), Broken> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        room.gaps += 1;
        if room.gaps > MAX_GAPS {
            return Err(Broken("events of a room kept missing"));
        }
        tracing::warn!(room = %id, cursor = ?room.cursor.cursor(), "events are missing: joining again");
        room.cursor.away();
        self.send_leave(id);
        self.to_join.push_back(id);
        Ok(())
    }

    fn error(&mut self, error: ErrorFrame<'static>, now: Instant) {
        let until = now + error.retry_after_ms.map_or(RETRY_AFTER, Duration::from_millis);
        let reference = error.reference.as_deref();
        if let Some(number) = number(reference) {
            if error.retryable {
                self.outbox.postponed(number, until);
            } else if let Some(reply) = self.outbox.answered(number) {
                let _ = reply.reply.send(Err(RequestError::Refused(Box::new(error))));
            }
            return;
        }
        let joining = reference.and_then(|name| self.rooms.iter().find(|(_, room)| room.cursor.is_joining_by(name)));
        let Some(id) = joining.map(|(id, _)| *id) else {
            return self.update(Update::Error(error));
        };
        if error.retryable {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.cursor.away();
            }
            self.later.push((until, id));
        } else if self.rooms.get(&id).is_some_and(|room| room.joined.is_some()) {
            self.left(id, error.code.into_owned());
        } else if let Some(room) = self.rooms.remove(&id) {
            room.refuse(&RequestError::Refused(Box::new(error)));
        }
    }

    fn left(&mut self, id: RoomId, reason: String) {
        if let Some(room) = self.rooms.remove(&id) {
            room.refuse(&RequestError::Left);
            self.update(Update::Left { room: id, reason });
        }
    }

    /// The next frame to send, if any may be sent now.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Option<String> {
        if !self.connected {
            return None;
        }
        if let Some(frame) = self.control.pop_front() {
            return Some(frame);
        }
        self.later.retain(|(at, room)| {
            let waits = now < *at;
            if !waits {
                self.to_join.push_back(*room);
            }
            waits
        });
        if let Some(frame) = self.next_join() {
            return Some(frame);
        }
        self.outbox.next(now, |reply| reply.reply.is_closed()).map(|(_, frame)| frame)
    }

    fn next_join(&mut self) -> Option<String> {
        while !self.to_join.is_empty() {
            if self.rooms.values().filter(|room| room.cursor.is_joining()).count() >= MAX_JOINS {
                return None;
            }
            let id = self.to_join.pop_front()?;
            let reference = self.reference("j");
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            if !room.cursor.is_away() {
                continue;
            }
            let cursor = room.cursor.cursor();
            let incoming = Incoming {
                reference: Some(reference.clone().into()),
                frame: ClientFrame::Join {
                    room_id: id.to_string().into(),
                    since: cursor.map(|cursor| cursor.seq.get()),
                    epoch: cursor.and_then(|cursor| cursor.epoch.as_ref()).map(|epoch| epoch.as_str().to_owned().into()),
                },
            };
            room.cursor.joining(reference);
            if let Some(frame) = encode(&incoming) {
                return Some(frame);
            }
        }
        None
    }

    /// When the next timer expires.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.later.iter().map(|(at, _)| *at).chain(self.outbox.wakes_at()).min()
    }

    pub(crate) fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// Discards updates that nobody receives.
    pub(crate) fn discard_deliveries(&mut self) {
        self.deliveries.clear();
    }

    pub(crate) fn update(&mut self, update: Update) {
        self.deliveries.push_back((update, None));
    }

    fn send_leave(&mut self, room: RoomId) {
        if self.connected {
            self.send(ClientFrame::Leave { room_id: room.to_string().into() }, "l");
        }
    }

    fn send(&mut self, frame: ClientFrame<'_>, kind: &str) {
        let reference = self.reference(kind);
        self.control.extend(encode(&Incoming { reference: Some(reference.into()), frame }));
    }

    fn reference(&mut self, kind: &str) -> String {
        self.last_reference += 1;
        format!("{kind}{}", self.last_reference)
    }
}

impl Room {
    fn refuse(self, error: &RequestError) {
        for reply in self.waiting {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

/// The number of a message, from its `ref`.
fn number(reference: Option<&str>) -> Option<u64> {
    reference?.strip_prefix('m')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use chatsphere_protocol::frames::EventKind;
    use chatsphere_types::{Seq, Timestamp};
    use tokio::sync::oneshot;

    use super::*;
    use crate::connection::tests::limits;

    fn hello() -> Hello {
        Hello {
            user_id: chatsphere_types::UserId::new(Timestamp::from_millis(1)),
            connection_id: chatsphere_types::ConnectionId::new(Timestamp::from_millis(1)),
            heartbeat_ms: 25_000,
            protocol: 1,
            expires_at: Timestamp::from_millis(1),
            limits: limits(),
        }
    }

    fn room(number: u8) -> RoomId {
        RoomId::from_uuid(format!("0198c0de-7c1a-7000-8000-0000000000{number:02x}").parse().unwrap())
    }

    fn connected() -> State {
        let mut state = State::new(true);
        state.connected(&hello());
        state
    }

    fn join(state: &mut State, room: RoomId, since: Option<Cursor>) -> oneshot::Receiver<Result<Joined, RequestError>> {
        let (reply, answer) = oneshot::channel();
        state.command(Command::Join { room, since, reply });
        answer
    }

    /// The frames to send now, as (type, ref, since).
    fn sent(state: &mut State) -> Vec<(String, String, Option<u64>)> {
        let frames = std::iter::from_fn(|| state.next_frame(Instant::now()));
        frames
            .map(|text| {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                let text = |name: &str| value[name].as_str().unwrap().to_owned();
                (text("type"), text("ref"), value["since"].as_u64())
            })
            .collect()
    }

    fn take(state: &mut State, text: &str) -> Result<(), Broken> {
        state.frame(Frame::parse(text).unwrap(), Instant::now())
    }

    fn confirm(state: &mut State, room: RoomId, reference: &str, seq: u64) {
        let text = format!(
            r#"{{"type":"join_confirmation","roomId":"{room}","seq":{seq},"epoch":"e","recovered":true,"ref":"{reference}"}}"#
        );
        take(state, &text).unwrap();
    }

    fn empty_page(state: &mut State, room: RoomId, reference: &str, from: u64, to: u64) {
        let text = format!(
            r#"{{"type":"previous_messages","roomId":"{room}","messages":[],"events":[],"fromSeq":{from},"toSeq":{to},
                "more":false,"ref":"{reference}"}}"#
        );
        take(state, &text).unwrap();
    }

    fn live(state: &mut State, room: RoomId, seq: u64) -> Result<(), Broken> {
        let kind = EventKind::Unknown { kind: "x".into(), body: Default::default() };
        let event = Event { room_id: room, seq: Seq::new(seq), created_at: None, kind };
        state.frame(Frame::Event(event), Instant::now())
    }

    fn handed_out(state: &mut State) -> Vec<u64> {
        std::iter::from_fn(|| state.next_delivery())
            .filter_map(|(update, _)| if let Update::Event(event) = update { Some(event.seq.get()) } else { None })
            .collect()
    }

    #[test]
    fn a_gap_is_closed_by_leaving_and_joining_from_the_cursor() {
        let mut state = connected();
        let mut answer = join(&mut state, room(1), Some(Cursor::BEGINNING));
        assert_eq!(sent(&mut state), [("join".into(), "j1".into(), Some(0))]);
        confirm(&mut state, room(1), "j1", 2);
        assert_eq!(answer.try_recv().unwrap(), Ok(Joined { seq: Seq::new(2), recovered: true }));
        empty_page(&mut state, room(1), "j1", 1, 2);
        live(&mut state, room(1), 3).unwrap();
        live(&mut state, room(1), 5).unwrap();
        live(&mut state, room(1), 6).unwrap();
        assert_eq!(sent(&mut state), [("leave".into(), "l2".into(), None), ("join".into(), "j3".into(), Some(3))]);
        assert_eq!(handed_out(&mut state), [3]);
        // Confirmations and pages of the previous join are ignored.
        confirm(&mut state, room(1), "j1", 9);
        confirm(&mut state, room(1), "j3", 6);
        empty_page(&mut state, room(1), "j1", 3, 9);
        empty_page(&mut state, room(1), "j3", 4, 6);
        live(&mut state, room(1), 7).unwrap();
        assert_eq!(handed_out(&mut state), [7]);
    }

    #[test]
    fn gaps_that_joining_does_not_mend_end_the_connection() {
        let mut state = connected();
        let _answer = join(&mut state, room(1), Some(Cursor::BEGINNING));
        for round in 1..=4 {
            let reference = sent(&mut state).pop().unwrap().1;
            confirm(&mut state, room(1), &reference, 9);
            // A page that begins too late.
            let text = format!(
                r#"{{"type":"previous_messages","roomId":"{}","messages":[],"events":[],"fromSeq":5,"toSeq":9,"more":false,
                    "ref":"{reference}"}}"#,
                room(1)
            );
            assert_eq!(take(&mut state, &text).is_err(), round == 4);
        }
    }

    #[test]
    fn few_joins_are_under_way_at_once() {
        let mut state = connected();
        let answers: Vec<_> = (0..40).map(|number| join(&mut state, room(number), None)).collect();
        let first = sent(&mut state);
        assert_eq!((first.len(), answers.len()), (MAX_JOINS, 40));
        confirm(&mut state, room(0), &first[0].1, 0);
        assert!(sent(&mut state).is_empty(), "its pages are still to come");
        state.disconnected();
        assert!(sent(&mut state).is_empty());
        state.connected(&hello());
        assert_eq!(sent(&mut state).len(), MAX_JOINS);
    }

    #[test]
    fn a_refused_join_is_answered_and_a_refused_renewal_is_reported() {
        let mut state = connected();
        let mut answer = join(&mut state, room(1), Some(Cursor::BEGINNING));
        sent(&mut state);
        let refusal = |reference: &str| {
            format!(r#"{{"type":"error","code":"not_a_member","message":"m","retryable":false,"ref":"{reference}"}}"#)
        };
        take(&mut state, &refusal("j1")).unwrap();
        assert!(matches!(answer.try_recv().unwrap(), Err(RequestError::Refused(error)) if error.code == "not_a_member"));
        let _answer = join(&mut state, room(1), Some(Cursor::BEGINNING));
        sent(&mut state);
        confirm(&mut state, room(1), "j2", 0);
        state.disconnected();
        state.connected(&hello());
        sent(&mut state);
        take(&mut state, &refusal("j3")).unwrap();
        let updates: Vec<_> = std::iter::from_fn(|| state.next_delivery()).map(|(update, _)| update).collect();
        assert!(matches!(updates.last(), Some(Update::Left { reason, .. }) if reason == "not_a_member"), "{updates:?}");
    }

    #[test]
    fn an_outage_during_a_replay_joins_again_later() {
        let mut state = connected();
        let _answer = join(&mut state, room(1), Some(Cursor::BEGINNING));
        sent(&mut state);
        confirm(&mut state, room(1), "j1", 5);
        let text = r#"{"type":"error","code":"store_away","message":"m","retryable":true,"retryAfterMs":1000,"ref":"j1"}"#;
        take(&mut state, text).unwrap();
        assert!(sent(&mut state).is_empty());
        let at = state.wakes_at().unwrap();
        let frame = state.next_frame(at).unwrap();
        assert!(frame.contains(r#""since":0,"epoch":"e""#), "{frame}");
    }
}
