use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::address::Address;
use crate::error::RunError;
use crate::latency::Latencies;
use crate::raw_socket::RawSocket;
use crate::wire::{self, PING, PONG, TEXT};

/// Timeout for a message of the quiet room.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages before the measurement.
const WARM_UP: u32 = 50;

/// A sender and a listener in a quiet room, each on its own thread with a blocking socket, so that they wait neither for the
/// generator's other tasks nor for each other.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) address: Address,
    /// Messages per second.
    pub(super) rate: u32,
    pub(super) messages: u32,
    pub(super) bytes: usize,
}

impl Probe {
    /// Sends a few messages without recording them.
    pub(super) async fn warm_up(&self, member: &(String, String)) -> Result<(), RunError> {
        Self { messages: WARM_UP.min(self.messages), ..self.clone() }.measure(member).await.map(|_| ())
    }

    /// The time of each message from its scheduled time to its delivery.
    pub(super) async fn measure(&self, (token, room): &(String, String)) -> Result<Latencies, RunError> {
        let sender = RawSocket::open(&self.address, token).await?;
        let mut listener = RawSocket::open(&self.address, token).await?;
        let base = listener.join(room).await?;
        let (sender, _) = sender.into_blocking()?;
        let (stream, buffer) = listener.into_blocking()?;
        let failed = |source| RunError::Io { what: "a message of the quiet room", source };
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let text = format!(r#"{{"type":"message","roomId":"{room}","content":"{}"}}"#, "x".repeat(self.bytes));
        let schedule = Schedule { start: Instant::now(), rate: self.rate, messages: self.messages };
        let latencies = Latencies::new()?;
        let sending = tokio::task::spawn_blocking(move || send(sender, &text, schedule));
        let listening = tokio::task::spawn_blocking(move || Listener { stream, buffer, base }.take_all(schedule, latencies));
        let ended = |error: tokio::task::JoinError| RunError::Unexpected(error.to_string());
        let measured = listening.await.map_err(ended)?.map_err(failed);
        sending.await.map_err(ended)?.map_err(failed)?;
        measured
    }
}

/// The schedule of the messages.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    rate: u32,
    messages: u32,
}

impl Schedule {
    fn due(&self, number: u32) -> Instant {
        self.start + Duration::from_secs(1) * number / self.rate
    }
}

fn send(mut sender: TcpStream, text: &str, schedule: Schedule) -> io::Result<()> {
    let mut frame = Vec::new();
    wire::frame(&mut frame, TEXT, text.as_bytes());
    for number in 0..schedule.messages {
        std::thread::sleep(schedule.due(number).saturating_duration_since(Instant::now()));
        sender.write_all(&frame)?;
    }
    Ok(())
}

struct Listener {
    stream: TcpStream,
    buffer: BytesMut,
    /// The room's `seq` before the first message.
    base: u64,
}

impl Listener {
    fn take_all(mut self, schedule: Schedule, mut latencies: Latencies) -> io::Result<Latencies> {
        for number in 0..schedule.messages {
            let seq = self.await_message()?;
            if seq != self.base + u64::from(number) + 1 {
                return Err(io::Error::other(format!("{seq} came after {number} of them")));
            }
            latencies.record(schedule.due(number).elapsed());
        }
        Ok(latencies)
    }

    /// Waits for a `new_message`; answers pings.
    fn await_message(&mut self) -> io::Result<u64> {
        let mut chunk = [0; 4096];
        loop {
            while let Some((opcode, head, length)) = wire::header(&self.buffer) {
                let Some(payload) = self.buffer.get(head..head + length) else { break };
                let arrived = wire::new_message(payload).filter(|_| opcode == TEXT);
                if opcode == PING {
                    let mut pong = Vec::new();
                    wire::frame(&mut pong, PONG, payload);
                    self.stream.write_all(&pong)?;
                }
                self.buffer.advance(head + length);
                if let Some(seq) = arrived {
                    return Ok(seq);
                }
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.buffer.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            }
        }
    }
}
