//! The cost of short connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::address::Address;
use crate::error::RunError;
use crate::fill::fill;
use crate::latency::Latencies;
use crate::parallel::joined;
use crate::participants::{Participants, Spread};
use crate::process::CpuMeter;
use crate::progress::Progress;
use crate::raw_socket::RawSocket;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;

/// Measures connections that authenticate, join a room, get its newest messages, and end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Number of connections.
    #[arg(long, default_value_t = 20_000)]
    connections: usize,
    /// Concurrent connections.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Users that connect, all members of one room.
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Messages in the room; a join gets the newest 50.
    #[arg(long, default_value_t = 60)]
    history: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.connections == 0 || args.concurrency == 0 || args.users == 0 {
        return Err(RunError::Usage("there must be connections and users".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let spread = Spread { sockets: args.users, per_user: 1, per_room: args.users };
    let participants = Arc::new(Participants::make(&client, &setup::run_tag("connect"), spread).await?);
    let (token, room) = participants.member(0);
    fill(&address, &token, &room, args.history, args.bytes).await?;

    let next = Arc::new(AtomicUsize::new(0));
    let progress = Arc::new(Progress::start("connecting", args.connections));
    let mut connecting = JoinSet::new();
    let cpu = CpuMeter::start(args.target.server());
    let began = Instant::now();
    for _ in 0..args.concurrency {
        let (address, participants) = (address.clone(), Arc::clone(&participants));
        let (next, progress) = (Arc::clone(&next), Arc::clone(&progress));
        connecting.spawn(async move {
            let mut latencies = Latencies::new()?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= args.connections {
                    return Ok(latencies);
                }
                let (token, room) = participants.member(number % args.users);
                let began = Instant::now();
                let mut socket = RawSocket::open(&address, &token).await?;
                socket.join(&room).await?;
                latencies.record(began.elapsed());
                socket.close();
                progress.step();
            }
        });
    }
    let mut latencies = Latencies::new()?;
    while let Some(some) = joined(&mut connecting).await? {
        latencies.add(&some);
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());
    let count = args.connections as u64;
    let mut report = Report::new("connect");
    report.figure("connections", count).figure("concurrency", args.concurrency).figure("history", args.history);
    report.figure("seconds", seconds).figure("connectionsPerSecond", rate(count, seconds));
    report.cpu(cpu, "connectionsPerCpuSecond", count).latencies("connectAndJoinMs", &latencies);
    Ok(report)
}
