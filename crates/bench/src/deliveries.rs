//! Delivers messages to many sockets and measures them, for the server and for the floor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::RunError;
use crate::latency::Latencies;
use crate::process::{CpuMeter, ServerProcesses};
use crate::progress::Progress;
use crate::raw_socket::RawSocket;
use crate::wire;

/// One of this many sockets records the times of its deliveries; the others only count.
const SAMPLED: usize = 8;
/// Timeout for the deliveries of a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of messages, and how many of them are in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) messages: usize,
    pub(crate) in_flight: usize,
}

/// A source of messages to the sockets.
pub(crate) trait Source {
    /// Triggers the next message without waiting for its delivery.
    async fn send(&mut self) -> Result<(), RunError>;
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) deliveries: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu: Option<f64>,
    pub(crate) latencies: Latencies,
    /// The length of the last frame's text.
    pub(crate) frame_bytes: u64,
    pub(crate) violations: Vec<String>,
}

/// The state shared with the listening sockets.
struct Board {
    /// The newest `seq` before the run.
    base: u64,
    began: Instant,
    /// When each message was sent, in nanoseconds since the start of the run.
    sent: Vec<AtomicU64>,
    /// The number of sockets that have not received each message.
    missing: Vec<AtomicU32>,
    /// Permits to send.
    places: Semaphore,
    frame_bytes: AtomicU64,
}

/// Sends all messages to all sockets; each is sent when an earlier one has arrived everywhere. `base` is the `seq` before the
/// first. The sockets are returned unless one failed.
pub(crate) async fn run(
    plan: Plan,
    base: u64,
    sockets: &mut Vec<RawSocket>,
    source: &mut impl Source,
    server: Option<ServerProcesses>,
) -> Result<Run, RunError> {
    let everybody = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
    let board = Arc::new(Board {
        base,
        began: Instant::now(),
        sent: (0..plan.messages).map(|_| AtomicU64::new(0)).collect(),
        missing: (0..plan.messages).map(|_| AtomicU32::new(everybody)).collect(),
        places: Semaphore::new(plan.in_flight),
        frame_bytes: AtomicU64::new(0),
    });
    let mut listening = JoinSet::new();
    for (number, socket) in sockets.drain(..).enumerate() {
        listening.spawn(listen(socket, Arc::clone(&board), plan.messages, number % SAMPLED == 0));
    }
    let (mut violations, mut latencies, mut deliveries) = (Vec::new(), Latencies::new()?, 0);
    let cpu = CpuMeter::start(server);
    let began = Instant::now();
    let progress = Progress::start("sending messages", plan.messages);
    for index in 0..plan.messages {
        match timeout(PATIENCE, board.places.acquire()).await {
            Ok(Ok(permit)) => permit.forget(),
            _ => break,
        }
        if let Some(sent) = board.sent.get(index) {
            sent.store(board.now(), Ordering::Release);
        }
        source.send().await?;
        progress.step();
    }
    loop {
        match timeout(PATIENCE, listening.join_next()).await {
            Ok(None) => break,
            Ok(Some(ended)) => {
                let heard = ended.map_err(|error| RunError::Unexpected(format!("a listener ended: {error}")))?;
                deliveries += heard.count;
                let times = heard.arrivals.iter().filter_map(|(index, at)| {
                    Some(Duration::from_nanos(at.saturating_sub(board.sent.get(*index)?.load(Ordering::Acquire))))
                });
                times.for_each(|time| latencies.record(time));
                violations.extend(heard.violation);
                sockets.push(heard.socket);
            }
            Err(_) => {
                violations.push(format!("{} sockets waited in vain for a message", listening.len()));
                break;
            }
        }
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());
    let frame_bytes = board.frame_bytes.load(Ordering::Relaxed);
    Ok(Run { deliveries, seconds, cpu, latencies, frame_bytes, violations })
}

/// The deliveries to one socket.
struct Heard {
    socket: RawSocket,
    count: u64,
    /// The index and time of each recorded delivery.
    arrivals: Vec<(usize, u64)>,
    violation: Option<String>,
}

/// Receives all messages, and checks that each arrives once and in order.
async fn listen(socket: RawSocket, board: Arc<Board>, messages: usize, sampled: bool) -> Heard {
    let mut heard = Heard { socket, count: 0, arrivals: Vec::new(), violation: None };
    let mut last = board.base;
    while heard.count < messages as u64 {
        let Heard { socket, count, arrivals, violation } = &mut heard;
        let reading = socket.read(|text| {
            let Some(seq) = wire::new_message(text) else { return };
            if seq != last + 1 {
                violation.get_or_insert_with(|| format!("a socket got {seq} after {last}"));
            }
            last = seq;
            *count += 1;
            let Some(index) = board.index(seq) else { return };
            if sampled {
                arrivals.push((index, board.now()));
            }
            if board.missing.get(index).is_some_and(|missing| missing.fetch_sub(1, Ordering::AcqRel) == 1) {
                board.frame_bytes.store(text.len() as u64, Ordering::Relaxed);
                board.places.add_permits(1);
            }
        });
        if let Err(error) = reading.await {
            heard.violation.get_or_insert_with(|| error.to_string());
            break;
        }
    }
    heard
}

impl Board {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The index of the message with this `seq`.
    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.base + 1)?).ok()
    }
}
