//! Latency in rooms with few and many messages, and in databases with few and many rooms.

mod measure;
mod rooms;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::address::Address;
use crate::error::RunError;
use crate::plot::{Chart, Curve};
use crate::report::{Report, rate};
use crate::target::Target;
use measure::{Calls, Measured};
use rooms::{Prepared, Room};

/// Measures a page of history, a join and a send with little and with much data.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Measure the rooms in this file, which the store's example `fill` writes. By default, rooms are created and filled by the
    /// public protocol, which takes long above 100,000 messages.
    #[arg(long, value_name = "FILE")]
    rooms_file: Option<PathBuf>,
    /// Create rooms of 1,000, 100,000 and 10,000,000 messages, up to this many.
    #[arg(long, default_value_t = 100_000, conflicts_with = "rooms_file")]
    to: usize,
    /// Measure again at each of these numbers of rooms.
    #[arg(long, value_delimiter = ',', default_value = "10,10000", conflicts_with = "rooms_file")]
    rooms: Vec<usize>,
    /// Bytes of each message's content.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// How often each call is made in each room.
    #[arg(long, default_value_t = 500)]
    samples: usize,
    /// An earlier JSON report of this command, with fewer rooms, to compute ratios.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> Result<Report, RunError> {
    if args.samples == 0 {
        return Err(RunError::Usage("there must be samples".to_owned()));
    }
    let client = args.target.client()?;
    let address = Address::parse(&args.target.url)?;
    let earlier = args.compare.as_deref().map(rooms::read_json).transpose()?;
    let mut report = Report::new("growth");
    report.figure("samples", args.samples);
    let Prepared { token, rooms, in_database } = match &args.rooms_file {
        Some(file) => rooms::named(&client, file).await?,
        None => rooms::made(&client, &address, args.to, args.bytes).await?,
    };
    report.figure("roomsInDatabase", in_database);
    let calls = Calls { address: &address, token: &token, bytes: args.bytes, samples: args.samples };
    let measured = calls.measure(&rooms).await?;
    tell(&mut report, "Messages", &measured);
    if let Some(earlier) = &earlier {
        compare(&mut report, earlier);
    }
    report.chart(chart(&measured));

    if let (None, Some(smallest)) = (&args.rooms_file, rooms.first()) {
        let (mut stages, mut made) = (Vec::new(), rooms.len());
        let mut wanted = args.rooms.clone();
        wanted.sort_unstable();
        for count in wanted {
            rooms::make_more(&client, &token, &mut made, count).await?;
            // The measurements have added a few messages.
            let room = Room { id: smallest.id.clone(), messages: smallest.messages };
            for mut stage in calls.measure(&[room]).await? {
                stage.at = made;
                stages.push(stage);
            }
        }
        tell(&mut report, "Rooms", &stages);
    }
    Ok(report)
}

/// Adds each call's latencies, and the ratio of their medians to those in the first place.
fn tell(report: &mut Report, of: &str, measured: &[Measured]) {
    let Some(first) = measured.first() else { return };
    for place in measured {
        report.figure(format!("newestSeqAt{}{of}", place.at), place.seq);
        for (name, latencies) in place.each() {
            report.latencies(format!("{name}MsAt{}{of}", place.at), latencies);
        }
    }
    for place in measured.iter().skip(1) {
        for ((name, latencies), (_, smallest)) in place.each().into_iter().zip(first.each()) {
            let ratio = latencies.at(0.5) / smallest.at(0.5);
            report.figure(format!("{name}RatioAt{}{of}", place.at), ratio);
        }
    }
}

/// Adds the ratio of each median to that in an earlier report.
fn compare(report: &mut Report, earlier: &Value) {
    let ratios: BTreeMap<String, f64> = report
        .figures()
        .filter_map(|(name, value)| {
            let (now, then) = (value["p50"].as_f64()?, earlier[name]["p50"].as_f64().filter(|then| *then > 0.0)?);
            Some((name.to_owned(), now / then))
        })
        .collect();
    report.figure("earlierRoomsInDatabase", earlier["roomsInDatabase"].clone());
    report.figure("p50ToEarlier", ratios);
}

fn chart(measured: &[Measured]) -> Chart {
    let mut curves: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for place in measured {
        for (name, latencies) in place.each() {
            curves.entry(name).or_default().push((rate(place.at as u64, 1.0), latencies.at(0.5)));
        }
    }
    let curves = curves.into_iter().map(|(name, points)| Curve::new(name, points)).collect();
    Chart::of_series("growth: median latency", "messages in the room", "ms", curves)
}
