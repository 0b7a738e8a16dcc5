//! The cost of storing a message, with one sender in each of many rooms.

mod closed;
mod open;

use chatsphere_client::Client;
use serde::Deserialize;

use crate::address::Address;
use crate::error::RunError;
use crate::fill::refusal;
use crate::parallel::in_parallel;
use crate::raw_socket::RawSocket;
use crate::report::{Report, rate};
use crate::setup;
use crate::target::Target;

/// Rooms created concurrently.
const AT_ONCE: usize = 16;

/// Measures how many messages the server stores and acknowledges, and the latency of acknowledgements.
///
/// In a closed loop each socket keeps a fixed number of messages in flight, which finds the maximum throughput. In an open loop
/// messages follow a fixed schedule, and latency counts from the scheduled time, as users experience it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Rooms, each with a user and a socket that sends without subscribing.
    #[arg(long, default_value_t = 50)]
    rooms: usize,
    /// Messages in flight on each socket; the server accepts at most 64.
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of warm-up.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Send this many messages per second in an open loop instead.
    #[arg(long, conflicts_with = "open_half", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// After the closed loop, send half its rate in an open loop.
    #[arg(long)]
    open_half: bool,
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

/// A socket, and the constant part of its messages' frame.
struct Place {
    socket: RawSocket,
    message: String,
}

impl Place {
    /// The text of a message whose acknowledgement repeats this number.
    fn text(message: &str, number: u64) -> String {
        format!(r#"{message},"clientMessageId":"{number}","ref":"{number}"}}"#)
    }
}

/// Reads answers, and passes on each acknowledged number.
async fn read_acks(socket: &mut RawSocket, mut on_ack: impl FnMut(u64)) -> Result<(), RunError> {
    let mut refused = None;
    socket
        .read(|text| match serde_json::from_slice::<Answer<'_>>(text) {
            Ok(Answer { kind: "ack", reference: Some(reference), .. }) => {
                reference.parse().into_iter().for_each(&mut on_ack);
            }
            Ok(Answer { kind: "error", code, .. }) => refused = Some(code.unwrap_or_default().to_owned()),
            _ => {}
        })
        .await?;
    refused.map_or(Ok(()), |code| Err(refusal(&code)))
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.rooms == 0 || args.in_flight == 0 || args.seconds == 0 {
        return Err(RunError::Usage("there must be rooms, messages under way and seconds".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let mut report = Report::new("ingest");
    report.figure("rooms", args.rooms).figure("contentBytes", args.bytes);
    let mut open_rate = args.rate.map(f64::from);
    if args.rate.is_none() {
        let places = places(&args, &client, &address).await?;
        let measured = closed::run(&args, places).await?;
        let per_second = rate(measured.acks, measured.seconds);
        report.figure("inFlight", args.in_flight).figure("acks", measured.acks).figure("seconds", measured.seconds);
        report.figure("acksPerSecond", per_second).cpu(measured.cpu, "acksPerCpuSecond", measured.acks);
        report.latencies("ackMs", &measured.latencies);
        open_rate = args.open_half.then_some((per_second / 2.0).max(1.0));
    }
    if let Some(open_rate) = open_rate {
        let places = places(&args, &client, &address).await?;
        let measured = open::run(&args, places, open_rate).await?;
        report.figure("openRate", open_rate).figure("openAcks", measured.acks);
        report.figure("openAcksPerSecond", rate(measured.acks, measured.seconds));
        report.figure("openCpuSeconds", measured.cpu).latencies("openAckMs", &measured.latencies);
        // The generator's own delay is part of the latency.
        report.latencies("openSentLateMs", &measured.late);
        report.violations.extend(measured.violations);
    }
    Ok(report)
}

async fn places(args: &Args, client: &Client, address: &Address) -> Result<Vec<Place>, RunError> {
    let tag = setup::run_tag("ingest");
    in_parallel("making rooms", args.rooms, AT_ONCE, |number| {
        let (client, address, name) = (client.clone(), address.clone(), format!("{tag}-{number}"));
        let content = "x".repeat(args.bytes);
        async move {
            let user = setup::create_user(&client, name.clone()).await?;
            let room = setup::create_room(&client, name, user.id).await?;
            let socket = RawSocket::open(&address, &user.token).await?;
            Ok(Place { socket, message: format!(r#"{{"type":"message","roomId":"{room}","content":"{content}""#) })
        }
    })
    .await
}
