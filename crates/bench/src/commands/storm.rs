//! A mass reconnect: all sockets return at once and replay missed events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::error::RunError;
use crate::fill::fill;
use crate::latency::Latencies;
use crate::parallel::in_parallel;
use crate::participants::{Participants, SOCKETS_PER_USER, Spread};
use crate::process::{CpuMeter, ServerProcesses};
use crate::progress::Progress;
use crate::raw_socket::RawSocket;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;
use crate::wire;

/// Rooms filled concurrently.
const FILLING: usize = 16;
/// Delay before a socket whose connection failed tries again, like a client's.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum number of reported violations, over all sockets.
const MAX_TOLD: usize = 10;

/// Measures sockets that connect at the same moment, each with a cursor some events behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Number of sockets.
    #[arg(long, default_value_t = 5_000)]
    sockets: usize,
    /// Events that each of them has missed; the server replays at most 10,000.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Sockets per room.
    #[arg(long, default_value_t = 100)]
    room_size: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Timeout of the whole run, in seconds.
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Skip the initial connections that are cut.
    #[arg(long)]
    fresh: bool,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.sockets == 0 {
        return Err(RunError::Usage("there must be sockets".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let spread = Spread { sockets: args.sockets, per_user: SOCKETS_PER_USER, per_room: args.room_size };
    let participants = Arc::new(Participants::make(&client, &setup::run_tag("storm"), spread).await?);
    let bases = open_and_miss(&args, &address, &participants).await?;

    let server = args.target.server();
    let before = server.as_ref().and_then(ServerProcesses::resident_bytes);
    let fresh_peak = server.as_ref().map(|server| server.forget_peak().is_ok());
    let progress = Arc::new(Progress::start("catching up", args.sockets));
    let cpu = CpuMeter::start(server.clone());
    let began = Instant::now();
    let mut returning = JoinSet::new();
    for number in 0..args.sockets {
        let (token, room) = participants.member(number);
        let base = bases.get(number / args.room_size.max(1)).copied().unwrap_or(0);
        let traveller = Traveller { address: address.clone(), token, room, seen: base, end: base + args.events, attempts: 0 };
        let (progress, patience) = (Arc::clone(&progress), Duration::from_secs(args.patience));
        returning.spawn(async move {
            let back = traveller.come_back(began, patience).await;
            progress.step();
            back
        });
    }
    let (mut latencies, mut violations, mut attempts) = (Latencies::new()?, Vec::new(), 0);
    // Sockets that have caught up stay open until the last one has.
    let mut sockets = Vec::new();
    while let Some(ended) = returning.join_next().await {
        match ended.map_err(|error| RunError::Unexpected(error.to_string()))? {
            Ok(back) => {
                latencies.record(back.took);
                attempts += back.attempts;
                sockets.push(back.socket);
            }
            Err(violation) => violations.push(violation),
        }
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());
    let peak = server.as_ref().and_then(ServerProcesses::peak_bytes);
    let replayed = sockets.len() as u64 * args.events;

    let mut report = Report::new("storm");
    report.figure("sockets", args.sockets).figure("eventsEach", args.events).figure("rooms", participants.rooms.len());
    report.figure("seconds", seconds).figure("eventsPerSecond", rate(replayed, seconds));
    report.figure("connectionsMadeAgain", attempts - sockets.len() as u64);
    report.cpu(cpu, "eventsPerCpuSecond", replayed).latencies("upToDateMs", &latencies);
    report.figure("residentBytesBefore", before).figure("peakResidentBytes", peak).figure("peakIsOfTheStorm", fresh_peak);
    let more = violations.len().saturating_sub(MAX_TOLD);
    violations.truncate(MAX_TOLD);
    report.violations = violations;
    if more > 0 {
        report.violations.push(format!("{more} more sockets were not up to date"));
    }
    Ok(report)
}

/// Joins every room, cuts the sockets, and sends the messages that they miss. Returns each room's `seq` before those.
async fn open_and_miss(args: &Args, address: &Address, participants: &Arc<Participants>) -> Result<Vec<u64>, RunError> {
    if !args.fresh {
        let opened = in_parallel("opening sockets", args.sockets, FILLING, |number| {
            let ((token, room), address) = (participants.member(number), address.clone());
            async move {
                let mut socket = RawSocket::open(&address, &token).await?;
                socket.join(&room).await?;
                Ok(socket)
            }
        });
        opened.await?.into_iter().for_each(RawSocket::close);
    }
    in_parallel("filling rooms", participants.rooms.len(), FILLING, |number| {
        let ((token, room), address) = (participants.member(number * args.room_size.max(1)), address.clone());
        let (count, bytes) = (usize::try_from(args.events).unwrap_or(usize::MAX), args.bytes);
        async move {
            let mut socket = RawSocket::open(&address, &token).await?;
            let base = socket.join(&room).await?;
            socket.close();
            fill(&address, &token, &room, count, bytes).await?;
            Ok(base)
        }
    })
    .await
}

/// A socket that reconnects.
struct Traveller {
    address: Address,
    token: String,
    room: String,
    /// The last received event.
    seen: u64,
    end: u64,
    attempts: u64,
}

struct Back {
    took: Duration,
    attempts: u64,
    socket: RawSocket,
}

impl Traveller {
    /// Connects and joins from its cursor, repeatedly if necessary, until it has everything.
    async fn come_back(mut self, began: Instant, patience: Duration) -> Result<Back, String> {
        loop {
            self.attempts += 1;
            let left = patience.saturating_sub(began.elapsed());
            match timeout(left, self.attempt()).await {
                Ok(Ok(socket)) if self.seen == self.end => {
                    return Ok(Back { took: began.elapsed(), attempts: self.attempts, socket });
                }
                Ok(Ok(_)) => return Err(format!("a socket got everything up to {} instead of {}", self.seen, self.end)),
                Ok(Err(Failed::Order(text))) => return Err(text),
                Ok(Err(Failed::Connection(error))) if began.elapsed() + PAUSE >= patience => {
                    return Err(format!("a socket did not come back: {error}"));
                }
                Ok(Err(Failed::Connection(_))) => sleep(PAUSE).await,
                Err(_) => return Err(format!("a socket was at {} of {} when time was up", self.seen, self.end)),
            }
        }
    }

    async fn attempt(&mut self) -> Result<RawSocket, Failed> {
        let mut socket = RawSocket::open(&self.address, &self.token).await.map_err(Failed::Connection)?;
        let join = format!(r#"{{"type":"join","roomId":"{}","since":{}}}"#, self.room, self.seen);
        let (seen, mut wrong) = (&mut self.seen, None);
        socket
            .join_with(&join, |text| {
                if wrong.is_none() {
                    wrong = follow(text, seen).err();
                }
            })
            .await
            .map_err(Failed::Connection)?;
        wrong.map_or(Ok(socket), |text| Err(Failed::Order(text)))
    }
}

enum Failed {
    Connection(RunError),
    Order(String),
}

/// Checks that a page of replayed messages continues at the cursor, and advances it. The text is searched for `seq`, which the
/// generator's contents do not contain.
fn follow(text: &[u8], seen: &mut u64) -> Result<(), String> {
    const SEQ: &[u8] = br#""seq":"#;
    if !text.starts_with(br#"{"type":"previous_messages""#) {
        return Ok(());
    }
    for at in memmem::find_iter(text, SEQ) {
        let number = text.get(at + SEQ.len()..).and_then(wire::number).unwrap_or(0);
        if number != *seen + 1 {
            return Err(format!("a socket got {number} after {seen}"));
        }
        *seen = number;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_followed_and_what_is_missing_or_doubled_is_found() {
        let page = |numbers: &[u64]| {
            let messages: Vec<_> = numbers.iter().map(|seq| format!(r#"{{"id":"i","seq":{seq},"content":"x"}}"#)).collect();
            format!(r#"{{"type":"previous_messages","messages":[{}],"events":[],"more":false}}"#, messages.join(","))
        };
        let mut seen = 6;
        follow(page(&[7, 8, 9]).as_bytes(), &mut seen).unwrap();
        assert_eq!(seen, 9);
        assert_eq!(follow(page(&[10, 12]).as_bytes(), &mut seen).unwrap_err(), "a socket got 12 after 10");
        assert_eq!(follow(page(&[10]).as_bytes(), &mut seen).unwrap_err(), "a socket got 10 after 10");
    }
}
