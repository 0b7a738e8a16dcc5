use std::time::{Duration, Instant};

use rand::Rng;

use super::rooms::Room;
use crate::address::Address;
use crate::error::RunError;
use crate::fill::refusal;
use crate::http_socket::{HttpSocket, request};
use crate::latency::Latencies;
use crate::progress::Progress;
use crate::raw_socket::RawSocket;
use crate::wire;

/// Calls before the measurement.
const WARM_UP: usize = 20;

/// The measured calls.
pub(super) struct Calls<'a> {
    pub(super) address: &'a Address,
    pub(super) token: &'a str,
    pub(super) bytes: usize,
    pub(super) samples: usize,
}

/// The latencies in one place.
pub(super) struct Measured {
    /// The number of items in that place.
    pub(super) at: usize,
    /// The room's newest `seq` after the run.
    pub(super) seq: u64,
    newest: Latencies,
    older: Latencies,
    join: Latencies,
    send: Latencies,
}

impl Measured {
    /// Each call with its latencies.
    pub(super) fn each(&self) -> [(&'static str, &Latencies); 4] {
        [("newest", &self.newest), ("older", &self.older), ("join", &self.join), ("send", &self.send)]
    }
}

impl Calls<'_> {
    /// Makes each call in each room, one at a time and in rotation, so that all rooms are measured under the same conditions.
    pub(super) async fn measure(&self, rooms: &[Room]) -> Result<Vec<Measured>, RunError> {
        let mut http = HttpSocket::open(self.address).await?;
        let mut listener = RawSocket::open(self.address, self.token).await?;
        let mut sender = RawSocket::open(self.address, self.token).await?;
        let mut measured = Vec::new();
        for room in rooms {
            let latencies = Latencies::new()?;
            let [newest, older, join, send] = [(); 4].map(|()| latencies.clone());
            measured.push(Measured { at: room.messages, seq: 0, newest, older, join, send });
        }
        let progress = Progress::start("measuring rounds", WARM_UP + self.samples);
        for round in 0..WARM_UP + self.samples {
            for (room, measured) in rooms.iter().zip(&mut measured) {
                let newest = self.page(&mut http, room, None).await?;
                let before = rand::rng().random_range(1..=room.messages.max(1)) + 1;
                let older = self.page(&mut http, room, Some(before)).await?;
                let (join, seq) = join(&mut listener, &room.id).await?;
                let send = self.send(&mut sender, &room.id).await?;
                // The join precedes the send.
                measured.seq = seq + 1;
                if round >= WARM_UP {
                    measured.newest.record(newest);
                    measured.older.record(older);
                    measured.join.record(join);
                    measured.send.record(send);
                }
            }
            progress.step();
        }
        Ok(measured)
    }

    async fn page(&self, http: &mut HttpSocket, room: &Room, before: Option<usize>) -> Result<Duration, RunError> {
        let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
        let path = format!("/api/rooms/{}/messages?limit=50{before}", room.id);
        let request = request(self.address, "GET", &path, self.token, None);
        let began = Instant::now();
        http.exchange(&request).await?;
        Ok(began.elapsed())
    }

    async fn send(&self, sender: &mut RawSocket, room: &str) -> Result<Duration, RunError> {
        let text = format!(r#"{{"type":"message","roomId":"{room}","content":"{}","ref":"g"}}"#, "x".repeat(self.bytes));
        let began = Instant::now();
        sender.send(&text).await.map_err(|source| RunError::Io { what: "sending a message", source })?;
        await_text(sender, br#"{"type":"ack""#).await?;
        Ok(began.elapsed())
    }
}

/// A join by a connection that is not subscribed to the room.
async fn join(listener: &mut RawSocket, room: &str) -> Result<(Duration, u64), RunError> {
    let began = Instant::now();
    let seq = listener.join(room).await?;
    let took = began.elapsed();
    let leave = format!(r#"{{"type":"leave","roomId":"{room}"}}"#);
    listener.send(&leave).await.map_err(|source| RunError::Io { what: "leaving a room", source })?;
    await_text(listener, br#"{"type":"leave_confirmation""#).await?;
    Ok((took, seq))
}

/// Waits for a text with this prefix.
async fn await_text(socket: &mut RawSocket, start: &[u8]) -> Result<(), RunError> {
    let (mut came, mut refused) = (false, None);
    while !came {
        socket
            .read(|text| {
                came |= text.starts_with(start);
                refused = refused.take().or_else(|| wire::error_code(text));
            })
            .await?;
        if let Some(code) = refused.take() {
            return Err(refusal(&code));
        }
    }
    Ok(())
}
