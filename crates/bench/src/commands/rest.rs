//! The cost of an application backend's calls: a page of history and a posted message.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::address::Address;
use crate::error::RunError;
use crate::fill::fill;
use crate::http_socket::{HttpSocket, request};
use crate::latency::Latencies;
use crate::parallel::{in_parallel, joined};
use crate::participants::{Participants, Spread};
use crate::process::CpuMeter;
use crate::progress;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;

/// Messages per page.
const PAGE: usize = 50;
/// Connections opened concurrently.
const OPENING: usize = 32;

/// The measured call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Call {
    /// The newest 50 messages of a room.
    Get,
    /// A message.
    Post,
}

/// Measures REST calls on keep-alive connections.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The call; by default both, one after the other.
    call: Option<Call>,
    /// Connections, each with its own user and one call at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Connections per room.
    #[arg(long, default_value_t = 1)]
    room_size: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Get the page below the newest message, which the server reads from its database each time.
    #[arg(long)]
    older: bool,
    /// Seconds to measure each call.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of warm-up.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.connections == 0 || args.seconds == 0 {
        return Err(RunError::Usage("there must be connections and seconds".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let spread = Spread { sockets: args.connections, per_user: 1, per_room: args.room_size };
    let participants = Participants::make(&client, &setup::run_tag("rest"), spread).await?;
    let filling = PAGE + usize::from(args.older);
    in_parallel("filling rooms", participants.rooms.len(), OPENING, |room| {
        let ((token, room), address) = (participants.member(room * args.room_size.max(1)), address.clone());
        async move { fill(&address, &token, &room, filling, args.bytes).await }
    })
    .await?;
    let mut report = Report::new("rest");
    report.figure("connections", args.connections).figure("rooms", participants.rooms.len()).figure("contentBytes", args.bytes);
    if args.call != Some(Call::Post) {
        let got = measure(&args, &address, &participants, Call::Get).await?;
        report.figure("gets", got.count).figure("getBodyBytes", got.body).figure("getsPerSecond", got.per_second());
        report.figure("getCpuSeconds", got.cpu).figure("getsPerCpuSecond", got.per_cpu_second());
        report.latencies("getMs", &got.latencies);
    }
    if args.call != Some(Call::Get) {
        let posted = measure(&args, &address, &participants, Call::Post).await?;
        report.figure("posts", posted.count).figure("postsPerSecond", posted.per_second());
        report.figure("postCpuSeconds", posted.cpu).figure("postsPerCpuSecond", posted.per_cpu_second());
        report.latencies("postMs", &posted.latencies);
    }
    Ok(report)
}

struct Measured {
    count: u64,
    /// Bytes of a response body.
    body: usize,
    seconds: f64,
    cpu: Option<f64>,
    latencies: Latencies,
}

impl Measured {
    fn per_second(&self) -> f64 {
        rate(self.count, self.seconds)
    }

    fn per_cpu_second(&self) -> Option<f64> {
        self.cpu.filter(|cpu| *cpu > 0.0).map(|cpu| rate(self.count, cpu))
    }
}

async fn measure(args: &Args, address: &Address, participants: &Participants, call: Call) -> Result<Measured, RunError> {
    let content = format!(r#"{{"content":"{}"}}"#, "x".repeat(args.bytes));
    // A room's first events are its members' joins.
    let older = if args.older { format!("&before={}", args.room_size.max(1) + PAGE + 1) } else { String::new() };
    let ready = in_parallel("opening connections", args.connections, OPENING, |number| {
        let (token, room) = participants.member(number);
        let path = format!("/api/rooms/{room}/messages");
        let request = match call {
            Call::Get => request(address, "GET", &format!("{path}?limit={PAGE}{older}"), &token, None),
            Call::Post => request(address, "POST", &path, &token, Some(&content)),
        };
        let address = address.clone();
        async move {
            let mut socket = HttpSocket::open(&address).await?;
            socket.exchange(&request).await?;
            Ok((socket, request))
        }
    })
    .await?;
    let begin = Instant::now() + Duration::from_secs(args.warm_up);
    let end = begin + Duration::from_secs(args.seconds);
    let mut calling = JoinSet::new();
    for (mut socket, request) in ready {
        calling.spawn(async move {
            let (mut latencies, mut count, mut body) = (Latencies::new()?, 0, 0);
            loop {
                let began = Instant::now();
                if began >= end {
                    return Ok::<_, RunError>((latencies, count, body));
                }
                body = socket.exchange(&request).await?;
                let now = Instant::now();
                if now >= begin && now < end {
                    count += 1;
                    latencies.record(now - began);
                }
            }
        });
    }
    progress::wait("warming up, seconds", args.warm_up).await;
    let (cpu, began) = (CpuMeter::start(args.target.server()), Instant::now());
    progress::wait("calling, seconds", args.seconds).await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());
    let mut measured = Measured { count: 0, body: 0, seconds, cpu, latencies: Latencies::new()? };
    while let Some((latencies, count, body)) = joined(&mut calling).await? {
        measured.latencies.add(&latencies);
        measured.count += count;
        measured.body = body;
    }
    Ok(measured)
}
