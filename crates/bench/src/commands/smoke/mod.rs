//! A check with many users, rooms and sockets, whose connections are cut: no event may be lost or repeated.

mod history;
mod sender;
mod stage;
mod watcher;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::cutter::Cutter;
use crate::error::RunError;
use crate::latency::Latencies;
use crate::process::CpuMeter;
use crate::report::{self, Report, rate};
use crate::target::Target;
use history::RoomHistory;
use sender::{Acknowledged, Sender};
use stage::Stage;
use watcher::Observed;

/// Checks that no event is lost, repeated or out of order when connections are cut.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Number of users.
    #[arg(long, default_value_t = 20)]
    users: usize,
    /// Number of rooms.
    #[arg(long, default_value_t = 5)]
    rooms: usize,
    /// Number of sockets, each of one user and joined to all of that user's rooms.
    #[arg(long, default_value_t = 30)]
    sockets: usize,
    /// Number of messages.
    #[arg(long, default_value_t = 2_000)]
    messages: usize,
    /// Messages in flight.
    #[arg(long, default_value_t = 32)]
    in_flight: usize,
    /// Connections to cut during the sending.
    #[arg(long, default_value_t = 20)]
    cuts: usize,
    /// Seconds for the sockets to receive the last events.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Repeat the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.users == 0 || args.rooms == 0 || args.sockets == 0 || args.in_flight == 0 {
        return Err(RunError::Usage("there must be users, rooms, sockets and messages under way".to_owned()));
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let mut report = Report::new("smoke");
    report.figure("seed", seed);
    // Printed first, so that an interrupted run can be repeated.
    report::note(&format!("seed {seed}"));

    let cutter = Cutter::start(&args.target.url).await?;
    let stage = Arc::new(Stage::set(&args, cutter, &mut random).await?);
    let cpu = CpuMeter::start(args.target.server());
    let began = Instant::now();
    let changing = tokio::spawn(Stage::change_members(Arc::clone(&stage)));
    let (acknowledged, latencies, mut violations) = send(&args, &stage, &mut random).await?;
    let seconds = began.elapsed().as_secs_f64();
    changing.await.unwrap_or(Ok(()))?;

    let mut histories = Vec::new();
    for room in &stage.rooms {
        histories.push(RoomHistory::read(&stage.client, room.id).await?);
    }
    for history in &histories {
        history.check(&acknowledged, &mut violations);
    }
    let cpu = cpu.seconds();
    let mut received = 0;
    let mut reconnects = 0;
    let deadline = Instant::now() + Duration::from_secs(args.patience);
    let stage = Arc::into_inner(stage).ok_or_else(|| RunError::Unexpected("the run is still going on".to_owned()))?;
    let cuts = stage.cuts();
    for socket in stage.sockets {
        let watch: Observed = socket.finish(&histories, deadline, &mut violations).await;
        received += watch.events;
        reconnects += watch.reconnects;
    }

    let messages = acknowledged.len() as u64;
    let events: u64 = histories.iter().map(|history| history.head.get()).sum();
    report.figure("users", args.users).figure("rooms", args.rooms).figure("sockets", args.sockets);
    report.figure("messagesAcknowledged", messages).figure("eventsStored", events).figure("eventsReceived", received);
    report.figure("connectionsCut", cuts).figure("reconnects", reconnects);
    report.figure("seconds", seconds).figure("acksPerSecond", rate(messages, seconds));
    report.latencies("ackMs", &latencies);
    report.cpu(cpu, "acksPerCpuSecond", messages);
    report.violations = violations;
    Ok(report)
}

/// Sends all messages, a fixed number at a time.
async fn send(
    args: &Args,
    stage: &Arc<Stage>,
    random: &mut StdRng,
) -> Result<(Vec<Acknowledged>, Latencies, Vec<String>), RunError> {
    let mut senders = JoinSet::new();
    for number in 0..args.in_flight {
        let share = args.messages / args.in_flight + usize::from(number < args.messages % args.in_flight);
        let sender = Sender::new(StdRng::seed_from_u64(random.random()), number)?;
        senders.spawn(sender.run(Arc::clone(stage), share));
    }
    let (mut acknowledged, mut latencies, mut violations) = (Vec::new(), Latencies::new()?, Vec::new());
    while let Some(ended) = senders.join_next().await {
        let sender = ended.map_err(|error| RunError::Unexpected(format!("a sender ended: {error}")))??;
        acknowledged.extend(sender.acknowledged);
        violations.extend(sender.violations);
        latencies.add(&sender.latencies);
    }
    Ok((acknowledged, latencies, violations))
}
