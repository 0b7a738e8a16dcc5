//! The closed loop: a fixed number of messages in flight on each socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Args, Place, read_acks};
use crate::error::RunError;
use crate::latency::Latencies;
use crate::parallel::joined;
use crate::process::CpuMeter;
use crate::progress;

/// Timeout for an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Measured {
    pub(super) acks: u64,
    pub(super) seconds: f64,
    pub(super) cpu: Option<f64>,
    pub(super) latencies: Latencies,
}

struct Counted {
    acks: u64,
    latencies: Latencies,
}

pub(super) async fn run(args: &Args, places: Vec<Place>) -> Result<Measured, RunError> {
    let (warm_up, seconds) = (Duration::from_secs(args.warm_up), Duration::from_secs(args.seconds));
    let ready = Arc::new(Barrier::new(places.len() + 1));
    let mut sending = JoinSet::new();
    for place in places {
        let sender = Sender { place, last: 0, under_way: HashMap::new() };
        sending.spawn(sender.run(args.in_flight, Arc::clone(&ready), warm_up, seconds));
    }
    ready.wait().await;
    progress::wait("warming up, seconds", args.warm_up).await;
    let cpu = CpuMeter::start(args.target.server());
    let began = Instant::now();
    progress::wait("sending, seconds", args.seconds).await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());
    let mut measured = Measured { acks: 0, seconds, cpu, latencies: Latencies::new()? };
    while let Some(counted) = joined::<Counted>(&mut sending).await? {
        measured.acks += counted.acks;
        measured.latencies.add(&counted.latencies);
    }
    Ok(measured)
}

struct Sender {
    place: Place,
    last: u64,
    under_way: HashMap<u64, Instant>,
}

impl Sender {
    /// Keeps this many messages in flight until the time is over; counts those acknowledged during the measurement.
    async fn run(
        mut self,
        in_flight: usize,
        ready: Arc<Barrier>,
        warm_up: Duration,
        seconds: Duration,
    ) -> Result<Counted, RunError> {
        ready.wait().await;
        let begin = Instant::now() + warm_up;
        let end = begin + seconds;
        let mut counted = Counted { acks: 0, latencies: Latencies::new()? };
        while Instant::now() < end {
            self.top_up(in_flight).await?;
            let under_way = &mut self.under_way;
            let reading = read_acks(&mut self.place.socket, |number| {
                let now = Instant::now();
                if let (Some(sent), true) = (under_way.remove(&number), now >= begin && now < end) {
                    counted.acks += 1;
                    counted.latencies.record(now - sent);
                }
            });
            timeout(PATIENCE, reading)
                .await
                .map_err(|_| RunError::Unexpected("an acknowledgement did not come in time".to_owned()))??;
        }
        Ok(counted)
    }

    async fn top_up(&mut self, in_flight: usize) -> Result<(), RunError> {
        let now = Instant::now();
        let mut frames = Vec::new();
        while self.under_way.len() < in_flight {
            self.last += 1;
            self.under_way.insert(self.last, now);
            frames.push(Place::text(&self.place.message, self.last));
        }
        self.place.socket.send_all(&frames).await.map_err(|source| RunError::Io { what: "sending messages", source })
    }
}
