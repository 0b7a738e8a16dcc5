use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::frames::Frame;

/// A fault of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    DropOne,
    DoubleOne,
    SwapTwo,
    ForgeAnAck,
    DeliverAfterARemoval,
    ChangeAReplay,
}

/// Number of candidate frames to let through, so that the fault occurs in the middle of a run.
const LET_THROUGH: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    Client,
    Server,
}

pub(super) struct Planter {
    fault: Option<Fault>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    candidates: usize,
    done: bool,
    clients: Vec<Arc<Mutex<TcpStream>>>,
    /// By connection: the room, and the frame that is delayed until the room's next one.
    held: Option<(usize, String, Frame)>,
    /// A message that is withheld from the server, and its forged acknowledgement.
    forged: Option<(Value, Frame)>,
    /// By connection: the room from which the user was removed.
    removed: HashMap<usize, String>,
}

impl Planter {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self { fault, state: Mutex::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state.lock().unwrap().done
    }

    /// The number of a connection.
    pub(super) fn connection(&self, client: Arc<Mutex<TcpStream>>) -> usize {
        let mut state = self.state.lock().unwrap();
        state.clients.push(client);
        state.clients.len() - 1
    }

    /// The frames that are sent in place of this one.
    pub(super) fn pass(&self, connection: usize, towards: Towards, frame: Frame) -> Vec<Frame> {
        let (Some(fault), Some(json)) = (self.fault, frame.json()) else { return vec![frame] };
        let mut state = self.state.lock().unwrap();
        let (kind, room) = (json["type"].as_str().unwrap_or_default(), json["roomId"].as_str().unwrap_or_default().to_owned());
        let state = &mut *state;
        match (fault, towards, kind) {
            (Fault::ForgeAnAck, Towards::Server, "message") => forge(state, connection, json, frame),
            (Fault::DeliverAfterARemoval, Towards::Server, "join") => {
                // A user who joins again may be a member again.
                state.removed.remove(&connection);
                vec![frame]
            }
            (_, Towards::Server, _) => vec![frame],
            (Fault::DeliverAfterARemoval, _, "left") => {
                state.removed.insert(connection, room);
                vec![frame]
            }
            (Fault::DeliverAfterARemoval, _, "new_message") => {
                let removed = state.removed.iter().find(|(other, from)| **other != connection && **from == room);
                if let Some(client) = removed.and_then(|(other, _)| state.clients.get(*other)).filter(|_| !state.done) {
                    state.done = client.lock().unwrap().write_all(&frame.bytes).is_ok();
                }
                vec![frame]
            }
            (Fault::DoubleOne, _, "new_message") if state.is_turn() => {
                state.done = true;
                vec![frame.clone(), frame]
            }
            (Fault::DropOne | Fault::SwapTwo, _, _) => hold(state, fault, connection, kind, room, frame),
            (Fault::ChangeAReplay, _, "previous_messages") => change(state, json, frame),
            _ => vec![frame],
        }
    }
}

impl State {
    /// Whether to plant the fault here.
    fn is_turn(&mut self) -> bool {
        self.candidates += 1;
        !self.done && self.candidates > LET_THROUGH
    }
}

/// Drops a message, or sends it after the next one of its room; without a next one nobody could notice.
fn hold(state: &mut State, fault: Fault, connection: usize, kind: &str, room: String, frame: Frame) -> Vec<Frame> {
    // These have no fixed order relative to events.
    if matches!(kind, "ack" | "error") {
        return vec![frame];
    }
    if let Some((_, _, held)) = state.held.take_if(|(holder, from, _)| *holder == connection && *from == room) {
        if kind != "new_message" {
            return vec![held, frame];
        }
        state.done = true;
        return if fault == Fault::DropOne { vec![frame] } else { vec![frame, held] };
    }
    if kind == "new_message" && state.held.is_none() && state.is_turn() {
        state.held = Some((connection, room, frame));
        return Vec::new();
    }
    vec![frame]
}

fn forge(state: &mut State, connection: usize, json: Value, frame: Frame) -> Vec<Frame> {
    let name = json!([json["roomId"], json["clientMessageId"]]);
    if state.forged.is_none() && state.is_turn() {
        let ack = json!({"type": "ack", "roomId": json["roomId"], "clientMessageId": json["clientMessageId"],
            "id": "0198c0de-7c1a-7000-8000-0123456789ab", "seq": 3, "createdAt": "2026-11-22T09:56:10.473Z"});
        state.forged = Some((name.clone(), Frame::text(ack.to_string().into_bytes())));
        state.done = true;
    }
    match &state.forged {
        // A repeated message gets the same forged answer.
        Some((forged, ack)) if *forged == name => {
            let _ = state.clients[connection].lock().unwrap().write_all(&ack.bytes);
            Vec::new()
        }
        _ => vec![frame],
    }
}

fn change(state: &mut State, mut json: Value, frame: Frame) -> Vec<Frame> {
    let Some(message) = json["messages"].get_mut(0).filter(|_| !state.done) else { return vec![frame] };
    state.done = true;
    message["content"] = "not what was sent".into();
    vec![Frame::text(json.to_string().into_bytes())]
}
