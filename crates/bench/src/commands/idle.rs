//! The cost of idle sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::address::Address;
use crate::error::RunError;
use crate::latency::Latencies;
use crate::parallel::in_parallel;
use crate::participants::{Participants, SOCKETS_PER_USER, Spread};
use crate::process::CpuMeter;
use crate::progress;
use crate::raw_socket::RawSocket;
use crate::report::Report;
use crate::setup;
use crate::target::Target;

/// Measures the memory and CPU time of sockets joined to a room without traffic.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Number of sockets.
    #[arg(long, default_value_t = 5_000)]
    sockets: usize,
    /// Sockets per room.
    #[arg(long, default_value_t = 100)]
    room_size: usize,
    /// Sockets per user; by default the server accepts at most 1,000.
    #[arg(long, default_value_t = SOCKETS_PER_USER)]
    sockets_per_user: usize,
    /// Sockets opened concurrently.
    #[arg(long, default_value_t = 64)]
    opening: usize,
    /// Seconds before the memory is read.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    /// Seconds after that in which the CPU time is measured.
    #[arg(long, default_value_t = 60)]
    hold: u64,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.sockets == 0 {
        return Err(RunError::Usage("there must be sockets".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let spread = Spread { sockets: args.sockets, per_user: args.sockets_per_user, per_room: args.room_size };
    let participants = Participants::make(&client, &setup::run_tag("idle"), spread).await?;

    let server = args.target.server();
    let memory = || server.as_ref().and_then(|server| server.resident_bytes());
    let before = memory();
    let opening_cpu = CpuMeter::start(server.clone());
    let mut holding = JoinSet::new();
    let pings = Arc::new(AtomicU64::new(0));
    let opened = in_parallel("opening sockets", args.sockets, args.opening, |number| {
        let ((token, room), address) = (participants.member(number), address.clone());
        let pings = Arc::clone(&pings);
        async move {
            let began = std::time::Instant::now();
            let mut socket = RawSocket::open(&address, &token).await?;
            socket.join(&room).await?;
            let took = began.elapsed();
            // The first sockets are pinged before the last are open.
            let held = tokio::spawn(socket.hold(move || {
                pings.fetch_add(1, Ordering::Relaxed);
            }));
            Ok((held, took))
        }
    })
    .await?;
    let opening_cpu = opening_cpu.seconds();
    let mut latencies = Latencies::new()?;
    for (held, took) in opened {
        latencies.record(took);
        holding.spawn(held);
    }

    progress::wait("settling, seconds", args.settle).await;
    let after = memory();
    let (cpu, pings_before) = (CpuMeter::start(server.clone()), pings.load(Ordering::Relaxed));
    progress::wait("holding, seconds", args.hold).await;
    let (cpu, pings) = (cpu.seconds(), pings.load(Ordering::Relaxed) - pings_before);

    let mut report = Report::new("idle");
    report.figure("sockets", args.sockets).figure("rooms", participants.rooms.len()).figure("users", participants.users.len());
    report.figure("residentBytesBefore", before).figure("residentBytesAfter", after);
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory need no more than 52 bits")]
    let per_socket = before.zip(after).map(|(before, after)| (after as f64 - before as f64) / args.sockets as f64);
    report.figure("bytesPerSocket", per_socket.map(f64::round));
    report.figure("openCpuSeconds", opening_cpu).latencies("openMs", &latencies);
    report.figure("holdSeconds", args.hold).figure("pingsAnswered", pings);
    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    let percent = cpu.filter(|_| args.hold > 0).map(|cpu| cpu / args.hold as f64 * 100.0);
    report.figure("serverCpuSeconds", cpu).figure("cpuPercentOfACore", percent);
    while let Some(ended) = holding.try_join_next() {
        let why = ended.map_err(|error| error.to_string()).and_then(|ended| ended.map_err(|error| error.to_string()));
        report.violations.push(match why {
            Ok(error) => format!("a socket was not held: {error}"),
            Err(error) => format!("a socket was not held: {error}"),
        });
    }
    Ok(report)
}
