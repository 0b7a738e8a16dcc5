//! One client: its successive connections, and its operations on them.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_client::{Client, MessageId, RoomId};
use chatsphere_protocol::close;
use chatsphere_protocol::frames::{ClientFrame, Incoming, encode_client_frame};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::outbox::Outbox;
use super::place::{Asked, JoinState, Joins, Place};
use super::post::Posting;
use super::recorder::Recorder;
use super::steps::{Op, Outgoing};
use super::wire::{Address, Cut, Frame, Wire};
use crate::judge::record::{Over, Text, Tick, What};

/// Maximum number of unacknowledged messages.
const WINDOW: usize = 12;
/// Delay before reconnecting.
const PAUSE: Duration = Duration::from_millis(30);
const LONG_PAUSE: Duration = Duration::from_millis(300);

/// The parts of a client.
pub(crate) struct Equipment {
    pub(crate) number: usize,
    pub(crate) token: String,
    pub(crate) address: Address,
    pub(crate) reads_little: bool,
    /// The same user over REST.
    pub(crate) rest: Client,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) posting: Posting,
    pub(crate) rooms: Vec<RoomId>,
}

/// A client's status, as seen by the director.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    pub(crate) finishing: bool,
    pub(crate) unanswered: usize,
    pub(crate) cursors: Vec<u64>,
    pub(crate) listening: Vec<bool>,
}

pub(crate) struct Device {
    pub(super) with: Equipment,
    pub(super) places: Vec<Place>,
    pub(super) outbox: Outbox,
    pub(super) joins: Joins,
    /// The number of connections so far.
    pub(super) connection: u32,
    /// The server has sent `hello` on this connection.
    pub(super) ready: bool,
    /// The last acknowledged message of each room.
    pub(super) last_acked: Vec<Option<(Outgoing, MessageId)>>,
    /// The client only stays in these rooms.
    pub(super) stays: Vec<usize>,
    finishing: bool,
    sleeping: bool,
    /// The client has slept on this connection.
    slept: bool,
    /// The client has slept on this connection, and received nothing since it woke.
    pub(super) woke: Option<Tick>,
    told: watch::Sender<Status>,
}

/// Why a connection ended.
enum End {
    Lost { code: Option<u16> },
    Done,
}

impl Device {
    pub(crate) fn new(with: Equipment) -> (Self, watch::Receiver<Status>) {
        let (told, status) = watch::channel(Status::default());
        let rooms = with.rooms.len();
        let device = Self {
            with,
            places: (0..rooms).map(|_| Place::default()).collect(),
            outbox: Outbox::default(),
            joins: Joins::default(),
            connection: 0,
            ready: false,
            last_acked: vec![None; rooms],
            stays: Vec::new(),
            finishing: false,
            sleeping: false,
            slept: false,
            woke: None,
            told,
        };
        (device, status)
    }

    /// Runs until there are no more operations.
    pub(crate) async fn run(mut self, mut ops: mpsc::Receiver<Op>) {
        let mut pause = PAUSE;
        loop {
            // Otherwise the director would wait for this client for ever.
            if ops.is_closed() && ops.is_empty() {
                return;
            }
            match Wire::open(&self.with.address, &self.with.token, self.with.reads_little).await {
                Ok(wire) => {
                    pause = PAUSE;
                    self.connection += 1;
                    match self.converse(wire, &mut ops).await {
                        End::Done => return,
                        End::Lost { code } => self.ended(code),
                    }
                }
                Err(_) => pause = (pause * 2).min(LONG_PAUSE),
            }
            sleep(pause).await;
        }
    }

    async fn converse(&mut self, mut wire: Wire, ops: &mut mpsc::Receiver<Op>) -> End {
        loop {
            while let Some(frame) = wire.next() {
                match frame {
                    Frame::Text(text) => self.take(&text, &mut wire),
                    Frame::Close(code) => return End::Lost { code },
                }
            }
            self.tell();
            let due = self.next_due();
            let takes_ops = self.ready && self.outbox.len() < WINDOW;
            tokio::select! {
                moved = wire.progress(!self.sleeping) => if moved.is_err() {
                    return End::Lost { code: None };
                },
                op = ops.recv(), if takes_ops || self.sleeping => match op {
                    Some(Op::Drop { how, half }) => {
                        self.woke = None;
                        self.drop_wire(wire, how, half);
                        return End::Lost { code: None };
                    }
                    Some(op) => self.carry_out(op, &mut wire),
                    None => return End::Done,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && self.ready => self.send_due(&mut wire),
            }
        }
    }

    fn carry_out(&mut self, op: Op, wire: &mut Wire) {
        match op {
            Op::Send { message, over: Over::Rest, .. } => {
                let Some(id) = self.with.rooms.get(message.room) else { return };
                let (rest, recorder) = (self.with.rest.clone(), self.with.recorder.clone());
                self.with.posting.post(rest, recorder, self.with.number, *id, message);
            }
            Op::Send { message, twice, .. } => {
                self.outbox.add(message.clone());
                for _ in 0..=usize::from(twice) {
                    self.send(&message, wire);
                }
            }
            Op::SendAgain { room } => {
                if let Some((message, _)) = self.last_acked.get(room).cloned().flatten() {
                    self.outbox.add(message.clone());
                    self.send(&message, wire);
                }
            }
            Op::Edit { room, text } => {
                let Some((_, message)) = self.last_acked.get(room).cloned().flatten() else { return };
                let Some(id) = self.with.rooms.get(room) else { return };
                let (rest, recorder) = (self.with.rest.clone(), self.with.recorder.clone());
                self.with.posting.edit(rest, recorder, self.with.number, (room, *id), message, text);
            }
            Op::Join { room } => self.join(room, wire),
            Op::Leave { room } => {
                if let Some((place, id)) = self.places.get_mut(room).zip(self.with.rooms.get(room)) {
                    place.wanted = false;
                    say(wire, ClientFrame::Leave { room_id: id.to_string().into() }, None);
                }
            }
            Op::Sleep => (self.sleeping, self.slept) = (true, true),
            Op::Wake if self.sleeping => {
                self.sleeping = false;
                let woke = self.with.recorder.tick();
                self.woke = Some(woke);
                say(wire, ClientFrame::Ping, Some(format!("t{woke}")));
            }
            Op::Finish { rooms } => {
                (self.stays, self.finishing) = (rooms, true);
                for room in self.stays.clone() {
                    if self.places.get(room).is_some_and(|place| place.join_state == JoinState::NotJoined) {
                        self.join(room, wire);
                    }
                }
            }
            Op::Drop { .. } | Op::Wake => {}
        }
    }

    /// Joins all rooms again and resends unanswered messages.
    pub(super) fn resume(&mut self, wire: &mut Wire) {
        self.ready = true;
        let wanted: Vec<usize> = (0..self.places.len()).filter(|room| self.wants(*room)).collect();
        for room in wanted {
            self.join(room, wire);
        }
        for message in self.outbox.all() {
            self.send(&message, wire);
        }
    }

    pub(super) fn join(&mut self, room: usize, wire: &mut Wire) {
        let Some((place, id)) = self.places.get_mut(room).zip(self.with.rooms.get(room)) else { return };
        place.wanted = true;
        let (since, at) = (place.cursor, self.with.recorder.tick());
        let number = self.joins.add(Asked { room, since, at });
        if place.join_state != JoinState::Listening {
            place.join_state = JoinState::Asking(number);
        }
        let join = ClientFrame::Join {
            room_id: id.to_string().into(),
            since: Some(since),
            epoch: place.epoch.as_deref().map(|epoch| epoch.to_owned().into()),
        };
        say(wire, join, Some(format!("j{number}")));
        // The pong follows the join, because the server handles frames in order.
        say(wire, ClientFrame::Ping, Some(format!("t{}", self.with.recorder.tick())));
    }

    fn send(&mut self, message: &Outgoing, wire: &mut Wire) {
        if let Some(frame) = self.frame_of(message) {
            let Outgoing { room, key, text } = message;
            self.saw(What::Sent { over: Over::Socket, room: *room, key: key.clone(), text: Text::of(text) });
            wire.send(&frame);
        }
    }

    fn frame_of(&self, message: &Outgoing) -> Option<String> {
        let frame = ClientFrame::Message {
            room_id: self.with.rooms.get(message.room)?.to_string().into(),
            content: message.text.as_str().into(),
            client_message_id: Some(message.key.as_str().into()),
            user_id: None,
        };
        encode_client_frame(&Incoming { reference: None, frame }).ok()
    }

    fn drop_wire(&mut self, wire: Wire, how: Cut, half: Option<(Outgoing, usize)>) {
        let half = half.and_then(|(message, part)| {
            let frame = self.frame_of(&message)?;
            let Outgoing { room, key, text } = &message;
            self.saw(What::Sent { over: Over::Socket, room: *room, key: key.clone(), text: Text::of(text) });
            self.outbox.add(message);
            Some((frame, part))
        });
        wire.cut(how, half.as_ref().map(|(frame, part)| (frame.as_str(), *part)));
    }

    fn next_due(&self) -> Option<Instant> {
        let joins = self.places.iter().filter_map(|place| match place.join_state {
            JoinState::Later(when) => Some(when),
            _ => None,
        });
        joins.chain(self.outbox.next_due()).min()
    }

    fn send_due(&mut self, wire: &mut Wire) {
        let now = Instant::now();
        let is_due = |place: &Place| matches!(place.join_state, JoinState::Later(when) if when <= now);
        let due: Vec<usize> = self.places.iter().enumerate().filter(|(_, place)| is_due(place)).map(|(room, _)| room).collect();
        for room in due {
            if self.wants(room) {
                self.join(room, wire);
            } else if let Some(place) = self.places.get_mut(room) {
                place.join_state = JoinState::NotJoined;
            }
        }
        for message in self.outbox.due() {
            self.send(&message, wire);
        }
    }

    fn wants(&self, room: usize) -> bool {
        self.stays.contains(&room) || self.places.get(room).is_some_and(|place| place.wanted)
    }

    fn ended(&mut self, code: Option<u16>) {
        // On a busy machine the events that came while the client slept may fill its queue after its first ping was answered.
        let too_slow = self.slept && code == Some(close::SLOW_CONSUMER);
        self.saw(What::Ended { code, overslept: self.sleeping || self.woke.is_some() || too_slow });
        self.ready = false;
        (self.sleeping, self.slept, self.woke) = (false, false, None);
        self.joins.forget();
        self.places.iter_mut().for_each(|place| place.join_state = JoinState::NotJoined);
        self.tell();
    }

    fn tell(&self) {
        self.told.send_replace(Status {
            finishing: self.finishing,
            unanswered: self.outbox.len(),
            cursors: self.places.iter().map(|place| place.cursor).collect(),
            listening: self.places.iter().map(|place| place.join_state == JoinState::Listening).collect(),
        });
    }

    pub(super) fn saw(&self, what: What) {
        self.with.recorder.saw(self.with.number, self.connection, what);
    }
}

fn say(wire: &mut Wire, frame: ClientFrame<'_>, reference: Option<String>) {
    if let Ok(text) = encode_client_frame(&Incoming { reference: reference.map(Into::into), frame }) {
        wire.send(&text);
    }
}
