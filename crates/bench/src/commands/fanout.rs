//! One room, many sockets: what a delivery costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chatsphere_client::{ConnectOptions, RoomId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::BenchError;
use crate::latency::Latencies;
use crate::process::CpuMeter;
use crate::raw_socket::RawSocket;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;

/// Sockets of one user: below the server's default limit.
const SOCKETS_PER_USER: usize = 500;
/// Sockets opened at once.
const OPENING: usize = 50;
/// One socket in so many takes the time of its deliveries; the others only count.
const SAMPLED: usize = 8;
/// How long the deliveries of a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures deliveries of one room's messages to many sockets.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Sockets that listen.
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Messages to send.
    #[arg(long, default_value_t = 500)]
    messages: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Messages under way at once, each until every socket has it.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
}

/// What the listening sockets report to.
struct Board {
    /// The room's newest number before the run.
    base: u64,
    began: Instant,
    /// When each message was sent, in nanoseconds of the run.
    sent: Vec<AtomicU64>,
    /// How many sockets still wait for each message.
    missing: Vec<AtomicU32>,
    /// Permits to send.
    places: Semaphore,
    /// Bytes of a frame, as the last one had it.
    frame_bytes: AtomicU64,
}

pub(crate) async fn run(args: Args) -> Result<Report, BenchError> {
    if args.sockets == 0 || args.messages == 0 || args.in_flight == 0 {
        return Err(BenchError::Usage("there must be sockets and messages, and one under way at least".to_owned()));
    }
    let client = args.target.client()?;
    let tag = setup::run_tag("fanout");
    let author = setup::create_user(&client, format!("{tag}-author")).await?;
    let room = setup::create_room(&client, tag.clone(), author.id).await?;
    let mut tokens = Vec::new();
    for number in 0..args.sockets.div_ceil(SOCKETS_PER_USER) {
        let user = setup::create_user(&client, format!("{tag}-{number}")).await?;
        setup::add_member(&client, room, user.id).await?;
        tokens.push(user.token);
    }
    let (connection, events) = args.target.client_of(&author.token)?.connect(ConnectOptions::default().unordered());
    drop(events);
    let sockets = open(&args, &tokens, room).await?;
    let base = sockets.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
    let everybody = u32::try_from(args.sockets).unwrap_or(u32::MAX);
    let board = Arc::new(Board {
        base,
        began: Instant::now(),
        sent: (0..args.messages).map(|_| AtomicU64::new(0)).collect(),
        missing: (0..args.messages).map(|_| AtomicU32::new(everybody)).collect(),
        places: Semaphore::new(args.in_flight),
        frame_bytes: AtomicU64::new(0),
    });
    let memory = args.target.server().and_then(|server| server.resident_bytes());
    let mut listening = JoinSet::new();
    for (number, (socket, _)) in sockets.into_iter().enumerate() {
        listening.spawn(listen(socket, Arc::clone(&board), args.messages, number % SAMPLED == 0));
    }

    let cpu = CpuMeter::start(args.target.server());
    let began = Instant::now();
    let connection = Arc::new(connection);
    let mut sending = JoinSet::new();
    for _ in 0..args.messages {
        let waiting = timeout(PATIENCE, board.places.acquire()).await;
        match waiting {
            Ok(Ok(permit)) => permit.forget(),
            _ => return Err(BenchError::Unexpected("a message did not reach every socket in time".to_owned())),
        }
        let (connection, board, content) = (Arc::clone(&connection), Arc::clone(&board), "x".repeat(args.bytes));
        sending.spawn(async move {
            let at = board.now();
            let ack = connection.send(room, content).await;
            let ack = ack.map_err(|source| BenchError::Request { what: "sending a message", source })?;
            // The number is known only now; a socket that was faster measures from the same moment.
            if let Some(sent) = board.index(ack.seq.get()).and_then(|index| board.sent.get(index)) {
                sent.store(at, Ordering::Release);
            }
            Ok::<(), BenchError>(())
        });
        while let Some(ended) = sending.try_join_next() {
            ended.map_err(|error| BenchError::Unexpected(error.to_string()))??;
        }
    }
    let (mut latencies, mut deliveries) = (Latencies::new()?, 0);
    let mut violations = Vec::new();
    while let Some(ended) = listening.join_next().await {
        match ended.map_err(|error| BenchError::Unexpected(error.to_string()))? {
            Ok(heard) => {
                deliveries += heard.count;
                let times = heard.arrivals.iter().filter_map(|(index, at)| {
                    let sent = board.sent.get(*index)?.load(Ordering::Acquire);
                    (sent > 0).then(|| Duration::from_nanos(at.saturating_sub(sent)))
                });
                times.for_each(|time| latencies.record(time));
                violations.extend(heard.violation);
            }
            Err(error) => violations.push(error.to_string()),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu.seconds();
    let mut report = Report::new("fanout");
    report.figure("sockets", args.sockets).figure("messages", args.messages).figure("inFlight", args.in_flight);
    report.figure("frameBytes", board.frame_bytes.load(Ordering::Relaxed)).figure("deliveries", deliveries);
    report.figure("seconds", seconds).figure("deliveriesPerSecond", rate(deliveries, seconds));
    report.cpu(cpu, "deliveriesPerCpuSecond", deliveries).figure("deliveryMs", latencies.percentiles());
    report.figure("serverResidentBytes", memory);
    report.violations = violations;
    Ok(report)
}

async fn open(args: &Args, tokens: &[String], room: RoomId) -> Result<Vec<(RawSocket, u64)>, BenchError> {
    let mut opening = JoinSet::new();
    let mut sockets = Vec::new();
    for number in 0..args.sockets {
        let token = tokens.get(number / SOCKETS_PER_USER).cloned().unwrap_or_default();
        let (url, room) = (args.target.url.clone(), room.to_string());
        opening.spawn(async move {
            let mut socket = RawSocket::open(&url, &token).await?;
            let seq = socket.join(&room).await?;
            Ok::<_, BenchError>((socket, seq))
        });
        while opening.len() >= OPENING {
            take(&mut opening, &mut sockets).await?;
        }
    }
    while !opening.is_empty() {
        take(&mut opening, &mut sockets).await?;
    }
    Ok(sockets)
}

async fn take<T: 'static>(from: &mut JoinSet<Result<T, BenchError>>, into: &mut Vec<T>) -> Result<(), BenchError> {
    if let Some(ended) = from.join_next().await {
        into.push(ended.map_err(|error| BenchError::Unexpected(error.to_string()))??);
    }
    Ok(())
}

/// What a socket heard.
#[derive(Default)]
struct Heard {
    count: u64,
    /// Which message arrived when.
    arrivals: Vec<(usize, u64)>,
    violation: Option<String>,
}

/// Takes all messages, and sees that each comes once and in order.
async fn listen(mut socket: RawSocket, board: Arc<Board>, messages: usize, sampled: bool) -> Result<Heard, BenchError> {
    let mut heard = Heard::default();
    let mut last = board.base;
    while heard.count < messages as u64 {
        let reading = socket.read(|text| {
            let Some(seq) = new_message(text) else { return };
            if seq != last + 1 {
                heard.violation.get_or_insert_with(|| format!("a socket got {seq} after {last}"));
            }
            last = seq;
            heard.count += 1;
            let Some(index) = board.index(seq) else { return };
            if sampled {
                heard.arrivals.push((index, board.now()));
            }
            if board.missing.get(index).is_some_and(|missing| missing.fetch_sub(1, Ordering::AcqRel) == 1) {
                board.frame_bytes.store(text.len() as u64, Ordering::Relaxed);
                board.places.add_permits(1);
            }
        });
        match timeout(PATIENCE, reading).await {
            Ok(read) => read?,
            Err(_) => {
                heard.violation.get_or_insert_with(|| format!("a socket waited in vain for what comes after {last}"));
                break;
            }
        }
    }
    Ok(heard)
}

impl Board {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Which message of the run has this number.
    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.base + 1)?).ok()
    }
}

/// The number of a `new_message` frame. Its first fields have fixed lengths, so that it need not be parsed.
fn new_message(text: &[u8]) -> Option<u64> {
    const ROOM: usize = 36;
    let rest = text.strip_prefix(br#"{"type":"new_message","roomId":""#)?.get(ROOM..)?.strip_prefix(br#"","seq":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_without_parsing() {
        let text = br#"{"type":"new_message","roomId":"0198c0de-7c1a-7000-8000-0123456789ab","seq":1234,"message":{}}"#;
        assert_eq!(new_message(text), Some(1234));
        assert_eq!(new_message(br#"{"type":"pong"}"#), None);
        assert_eq!(new_message(b""), None);
    }
}
