//! The cost of a delivery, in one room with many sockets.

use serde_json::json;

use super::floor::FloorWriter;
use crate::address::Address;
use crate::author::Author;
use crate::deliveries::{self, Plan, Run};
use crate::error::RunError;
use crate::latency::Latencies;
use crate::parallel::in_parallel;
use crate::participants::{Participants, SOCKETS_PER_USER, Spread};
use crate::raw_socket::RawSocket;
use crate::report::{Report, median, rate};
use crate::setup;
use crate::target::Target;

/// Sockets opened concurrently.
const OPENING: usize = 50;

/// Measures deliveries of one room's messages to many sockets.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Number of sockets.
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Messages per run.
    #[arg(long, default_value_t = 500)]
    messages: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Messages in flight, each until every socket has it.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Number of runs; the report shows the median.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// After each run, run the bare loop of `floor` with as many sockets and frames of the same size, and report the ratio.
    #[arg(long)]
    floor: bool,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.sockets == 0 || args.messages == 0 || args.in_flight == 0 || args.runs == 0 {
        return Err(RunError::Usage("there must be sockets, runs and messages, and one under way at least".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let spread = Spread { sockets: args.sockets, per_user: SOCKETS_PER_USER, per_room: args.sockets };
    let participants = Participants::make(&client, &setup::run_tag("fanout"), spread).await?;
    let (token, room) = participants.member(0);
    let mut author = Author::open(&address, &token, &room, args.bytes).await?;
    let opened = in_parallel("opening sockets", args.sockets, OPENING, |number| {
        let ((token, room), address) = (participants.member(number), address.clone());
        async move {
            let mut socket = RawSocket::open(&address, &token).await?;
            let seq = socket.join(&room).await?;
            Ok((socket, seq))
        }
    })
    .await?;
    let mut base = opened.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
    let mut sockets: Vec<RawSocket> = opened.into_iter().map(|(socket, _)| socket).collect();
    let memory = args.target.server().and_then(|server| server.resident_bytes());

    let plan = Plan { messages: args.messages, in_flight: args.in_flight };
    let (mut server, mut floor) = (Vec::new(), Vec::new());
    let mut writer = None;
    for _ in 0..args.runs {
        let run = deliveries::run(plan, base, &mut sockets, &mut author, args.target.server()).await?;
        base += args.messages as u64;
        let (broken, frame_bytes) = (!run.violations.is_empty(), run.frame_bytes);
        server.push(run);
        if broken {
            break;
        }
        if args.floor {
            // The server's frames determine the frame size of the floor.
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(FloorWriter::start(args.sockets, frame_bytes, args.in_flight).await?),
            };
            floor.push(writer.run(plan).await?);
        }
    }

    let mut report = Report::new("fanout");
    report.figure("sockets", args.sockets).figure("messages", args.messages).figure("inFlight", args.in_flight);
    report.figure("frameBytes", server.last().map(|run| run.frame_bytes));
    report.figure("deliveries", server.iter().map(|run| run.deliveries).sum::<u64>());
    report.figure("seconds", server.iter().map(|run| run.seconds).sum::<f64>());
    report.figure("deliveriesPerSecond", median(server.iter().map(|run| rate(run.deliveries, run.seconds)).collect()));
    report.figure("serverCpuSeconds", server.iter().map(|run| run.cpu).sum::<Option<f64>>());
    report_cpu(&mut report, &server, "deliveriesPerCpuSecond", "deliveriesPerCpuSecondOfEachRun");
    report.latencies("deliveryMs", &all(&server)?).figure("serverResidentBytes", memory);
    if args.floor {
        report_cpu(&mut report, &floor, "floorPerCpuSecond", "floorPerCpuSecondOfEachRun");
        report.latencies("floorDeliveryMs", &all(&floor)?);
        // Ratios of pairs, because both runs of a pair share the machine's noise.
        let ratios =
            server.iter().zip(&floor).filter_map(|(server, floor)| Some(per_cpu_second(server)? / per_cpu_second(floor)?));
        report.figure("serverToFloor", median(ratios.collect()));
    }
    report.violations = server.into_iter().chain(floor).flat_map(|run| run.violations).collect();
    Ok(report)
}

/// Adds the median of deliveries per CPU second, and that of each run if there are several.
pub(super) fn report_cpu(report: &mut Report, runs: &[Run], name: &'static str, of_each: &'static str) {
    let each: Vec<f64> = runs.iter().filter_map(per_cpu_second).collect();
    report.figure(name, median(each.clone()));
    if each.len() > 1 {
        report.figure(of_each, json!(each));
    }
}

/// Deliveries per CPU second, if available.
fn per_cpu_second(run: &Run) -> Option<f64> {
    Some(rate(run.deliveries, run.cpu.filter(|cpu| *cpu > 0.0)?))
}

/// The latencies of all runs.
pub(super) fn all(runs: &[Run]) -> Result<Latencies, RunError> {
    let mut latencies = Latencies::new()?;
    runs.iter().for_each(|run| latencies.add(&run.latencies));
    Ok(latencies)
}
