//! The effect of a loud room, and of a flooding client, on a quiet room.

mod elsewhere;
mod flood;
mod loud;
mod probe;

use chatsphere_client::Client;

use crate::address::Address;
use crate::error::RunError;
use crate::latency::Latencies;
use crate::participants::{Participants, SOCKETS_PER_USER, Spread};
use crate::process::CpuMeter;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;
use elsewhere::Elsewhere;
use flood::FloodingClient;
use loud::Loud;
use probe::Probe;

/// Measures the delivery latency of a quiet room, alone and beside clients that take all they can.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Sockets in the loud room.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Messages in flight in the loud room, each until every socket has it.
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Messages per second in the quiet room.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Seconds per measurement; each round has three.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Rounds, so that a busy moment of the machine does not affect only one of the three.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.sockets == 0 || args.in_flight == 0 {
        return Err(RunError::Usage("there must be sockets and messages under way".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let probe = Probe { address: address.clone(), rate: args.rate, messages: args.rate * args.seconds, bytes: args.bytes };
    let quiet = member(&client, "quiet").await?;
    let loud_crowd = Spread { sockets: args.sockets, per_user: SOCKETS_PER_USER, per_room: args.sockets };
    let loud_crowd = Participants::make(&client, &setup::run_tag("loud"), loud_crowd).await?;
    // Its sockets are open from the start, so that only their traffic makes the difference.
    let elsewhere = Elsewhere::start()?;
    let mut loud = elsewhere.run(Loud::open(address.clone(), loud_crowd, args.sockets, args.bytes)).await?;
    let flooding = member(&client, "flood").await?;
    probe.warm_up(&quiet).await?;

    let (mut alone, mut beside_room, mut beside_flood) = (Latencies::new()?, Latencies::new()?, Latencies::new()?);
    let (mut shouted, mut flooded) = (Count::default(), Count::default());
    let mut report = Report::new("fairness");
    for _ in 0..args.rounds {
        alone.add(&probe.measure(&quiet).await?);

        let cpu = CpuMeter::start(args.target.server());
        let in_flight = args.in_flight;
        let shouting = elsewhere.run(async move { Ok(loud.start(in_flight)) }).await?;
        let measured = probe.measure(&quiet).await;
        let (again, sent) = shouting.stop().await?;
        loud = again;
        shouted.add(sent.deliveries, sent.seconds, cpu.seconds());
        report.violations.extend(sent.violation);
        beside_room.add(&measured?);

        let cpu = CpuMeter::start(args.target.server());
        let flood = elsewhere.run(FloodingClient::start(address.clone(), flooding.clone(), args.bytes)).await?;
        let measured = probe.measure(&quiet).await;
        let sent = flood.stop().await?;
        flooded.add(sent.acks, sent.seconds, cpu.seconds());
        report.figure("floodEnd", sent.ended);
        beside_flood.add(&measured?);
    }

    report.figure("loudSockets", args.sockets).figure("quietMessagesPerSecond", args.rate).figure("rounds", args.rounds);
    report.latencies("aloneMs", &alone).latencies("besideLoudRoomMs", &beside_room);
    report.latencies("besideFloodMs", &beside_flood);
    let ratio = |beside: &Latencies| if alone.at(0.99) > 0.0 { beside.at(0.99) / alone.at(0.99) } else { 0.0 };
    report.figure("p99RatioLoudRoom", ratio(&beside_room)).figure("p99RatioFlood", ratio(&beside_flood));
    report.figure("loudDeliveriesPerSecond", rate(shouted.count, shouted.seconds)).figure("loudCpuSeconds", shouted.cpu);
    report.figure("floodAcksPerSecond", rate(flooded.count, flooded.seconds)).figure("floodCpuSeconds", flooded.cpu);
    Ok(report)
}

/// The throughput of the loud clients, over all rounds.
#[derive(Default)]
struct Count {
    count: u64,
    seconds: f64,
    cpu: Option<f64>,
}

impl Count {
    fn add(&mut self, count: u64, seconds: f64, cpu: Option<f64>) {
        self.count += count;
        self.seconds += seconds;
        self.cpu = cpu.map(|cpu| self.cpu.unwrap_or(0.0) + cpu);
    }
}

/// A room with one member, and the member's token.
async fn member(client: &Client, what: &str) -> Result<(String, String), RunError> {
    let participants =
        Participants::make(client, &setup::run_tag(what), Spread { sockets: 1, per_user: 1, per_room: 1 }).await?;
    Ok(participants.member(0))
}
