//! Many rooms, one sender each: what it costs to store a message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address::Address;
use crate::error::BenchError;
use crate::latency::Latencies;
use crate::process::CpuMeter;
use crate::raw_socket::RawSocket;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;

/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures how many messages the server stores and acknowledges.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Rooms, each with a user and a socket of its own that sends and does not listen.
    #[arg(long, default_value_t = 50)]
    rooms: usize,
    /// Messages under way at once on each socket; the server takes at most 64.
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds to send before that.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
}

/// An `ack`, or an `error` in its place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "ref", default)]
    reference: Option<&'a str>,
    #[serde(default)]
    code: Option<&'a str>,
}

struct Counted {
    acks: u64,
    latencies: Latencies,
}

pub(crate) async fn run(args: Args) -> Result<Report, BenchError> {
    if args.rooms == 0 || args.in_flight == 0 || args.seconds == 0 {
        return Err(BenchError::Usage("there must be rooms, messages under way and seconds".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let tag = setup::run_tag("ingest");
    let ready = Arc::new(Barrier::new(args.rooms + 1));
    let mut sending = JoinSet::new();
    for number in 0..args.rooms {
        let user = setup::create_user(&client, format!("{tag}-{number}")).await?;
        let room = setup::create_room(&client, format!("{tag}-{number}"), user.id).await?;
        let socket = RawSocket::open(&address, &user.token).await?;
        let message = format!(r#"{{"type":"message","roomId":"{room}","content":"{}""#, "x".repeat(args.bytes));
        let sender = Sender { socket, message, last: 0, under_way: HashMap::new() };
        let warm_up = Duration::from_secs(args.warm_up);
        sending.spawn(sender.run(args.in_flight, Arc::clone(&ready), warm_up, Duration::from_secs(args.seconds)));
    }
    ready.wait().await;
    tokio::time::sleep(Duration::from_secs(args.warm_up)).await;
    let cpu = CpuMeter::start(args.target.server());
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());
    let (mut acks, mut latencies) = (0, Latencies::new()?);
    while let Some(ended) = sending.join_next().await {
        let counted: Counted = ended.map_err(|error| BenchError::Unexpected(error.to_string()))??;
        acks += counted.acks;
        latencies.add(&counted.latencies);
    }
    let mut report = Report::new("ingest");
    report.figure("rooms", args.rooms).figure("inFlight", args.in_flight).figure("contentBytes", args.bytes);
    report.figure("acks", acks).figure("seconds", seconds).figure("acksPerSecond", rate(acks, seconds));
    report.cpu(cpu, "acksPerCpuSecond", acks).latencies("ackMs", &latencies);
    Ok(report)
}

struct Sender {
    socket: RawSocket,
    /// A message's frame as far as it is always the same.
    message: String,
    last: u64,
    under_way: HashMap<u64, Instant>,
}

impl Sender {
    /// Keeps so many messages under way until the time is over; counts those that are answered while it is measured.
    async fn run(
        mut self,
        in_flight: usize,
        ready: Arc<Barrier>,
        warm_up: Duration,
        seconds: Duration,
    ) -> Result<Counted, BenchError> {
        ready.wait().await;
        let begin = Instant::now() + warm_up;
        let end = begin + seconds;
        let mut counted = Counted { acks: 0, latencies: Latencies::new()? };
        while Instant::now() < end {
            self.top_up(in_flight).await?;
            let mut refused = None;
            let under_way = &mut self.under_way;
            let reading = self.socket.read(|text| match serde_json::from_slice::<Answer<'_>>(text) {
                Ok(Answer { kind: "ack", reference: Some(reference), .. }) => {
                    let sent = reference.parse().ok().and_then(|number: u64| under_way.remove(&number));
                    let now = Instant::now();
                    if let (Some(sent), true) = (sent, now >= begin && now < end) {
                        counted.acks += 1;
                        counted.latencies.record(now - sent);
                    }
                }
                Ok(Answer { kind: "error", code, .. }) => refused = Some(code.unwrap_or_default().to_owned()),
                _ => {}
            });
            timeout(PATIENCE, reading)
                .await
                .map_err(|_| BenchError::Unexpected("an acknowledgement did not come in time".to_owned()))??;
            if let Some(code) = refused {
                let hint = if code == "rate_limited" { ": start the server with CHATSPHERE_RATE_LIMIT=off" } else { "" };
                return Err(BenchError::Unexpected(format!("a message was refused, {code}{hint}")));
            }
        }
        Ok(counted)
    }

    async fn top_up(&mut self, in_flight: usize) -> Result<(), BenchError> {
        let now = Instant::now();
        let mut frames = Vec::new();
        while self.under_way.len() < in_flight {
            self.last += 1;
            self.under_way.insert(self.last, now);
            frames.push(format!(r#"{},"clientMessageId":"{}","ref":"{}"}}"#, self.message, self.last, self.last));
        }
        self.socket.send_all(&frames).await.map_err(|source| BenchError::Io { what: "sending messages", source })
    }
}
