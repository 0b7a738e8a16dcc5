//! The simplest program that writes the same frames to as many sockets: the baseline of `fanout`.

mod driver;
mod writer;

pub(crate) use driver::FloorWriter;
pub(crate) use writer::{Args as WriterArgs, run as run_writer};

use super::fanout::{all, report_cpu};
use crate::deliveries::Plan;
use crate::error::RunError;
use crate::report::{Report, median, rate};

/// The approximate size of a `new_message` frame without its content.
const AROUND_CONTENT: usize = 475;

/// Measures a bare loop that writes frames to sockets, in a separate process: the lower bound for any server.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of sockets.
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Messages per run.
    #[arg(long, default_value_t = 500)]
    messages: usize,
    /// Bytes of each message's content; a frame has about 475 more.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Messages in flight, all in one write.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Number of runs; the report shows the median.
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.sockets == 0 || args.messages == 0 || args.in_flight == 0 || args.runs == 0 {
        return Err(RunError::Usage("there must be sockets, runs and messages, and one under way at least".to_owned()));
    }
    let frame_bytes = (AROUND_CONTENT + args.bytes) as u64;
    let mut writer = FloorWriter::start(args.sockets, frame_bytes, args.in_flight).await?;
    let plan = Plan { messages: args.messages, in_flight: args.in_flight };
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        runs.push(writer.run(plan).await?);
    }
    let mut report = Report::new("floor");
    report.figure("sockets", args.sockets).figure("messages", args.messages).figure("inFlight", args.in_flight);
    report.figure("frameBytes", runs.last().map(|run| run.frame_bytes));
    report.figure("deliveriesPerSecond", median(runs.iter().map(|run| rate(run.deliveries, run.seconds)).collect()));
    report.figure("writerCpuSeconds", runs.iter().map(|run| run.cpu).sum::<Option<f64>>());
    report_cpu(&mut report, &runs, "deliveriesPerCpuSecond", "deliveriesPerCpuSecondOfEachRun");
    report.latencies("deliveryMs", &all(&runs)?);
    report.violations = runs.into_iter().flat_map(|run| run.violations).collect();
    Ok(report)
}
