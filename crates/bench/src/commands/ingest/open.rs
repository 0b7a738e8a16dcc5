//! The open loop: messages on a fixed schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Args, Place, read_acks};
use crate::error::RunError;
use crate::latency::Latencies;
use crate::process::CpuMeter;
use crate::progress;
use crate::raw_socket::{RawSocket, SocketWriter};
use crate::wire::{self, TEXT};

/// Timeout for the last acknowledgements.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Measured {
    pub(super) acks: u64,
    pub(super) seconds: f64,
    pub(super) cpu: Option<f64>,
    /// From the scheduled time of a message.
    pub(super) latencies: Latencies,
    /// The delay between the scheduled time and the send.
    pub(super) late: Latencies,
    pub(super) violations: Vec<String>,
}

/// The schedule: when each message is sent, and on which socket.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    per_second: f64,
    sockets: u64,
    /// Messages before the measurement.
    warm_up: u64,
    messages: u64,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 messages")]
        let seconds = number as f64 / self.per_second;
        self.start + Duration::from_secs_f64(seconds)
    }

    /// The number of messages sent on a socket.
    fn share(&self, socket: u64) -> u64 {
        self.messages / self.sockets + u64::from(socket < self.messages % self.sockets)
    }
}

pub(super) async fn run(args: &Args, places: Vec<Place>, per_second: f64) -> Result<Measured, RunError> {
    let count = |seconds: u64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small and positive"
        )]
        let count = (seconds as f64 * per_second).round() as u64;
        count
    };
    let schedule = Schedule {
        start: Instant::now() + Duration::from_millis(200),
        per_second,
        sockets: places.len() as u64,
        warm_up: count(args.warm_up),
        messages: count(args.warm_up + args.seconds),
    };
    let (mut reading, mut writers) = (JoinSet::new(), Vec::new());
    for (number, place) in (0..).zip(places) {
        let (socket, writer) = place.socket.writer()?;
        writers.push((writer, place.message));
        reading.spawn(read(socket, schedule, schedule.share(number)));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    // A thread, because the runtime's timers have millisecond resolution, which would be most of the latency.
    let sending = std::thread::spawn(move || send(writers, schedule, &stopped));

    progress::wait("warming up, seconds", args.warm_up).await;
    let (cpu, began) = (CpuMeter::start(args.target.server()), Instant::now());
    progress::wait("sending at a fixed rate, seconds", args.seconds).await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu.seconds());

    let (mut latencies, mut violations, mut acks) = (Latencies::new()?, Vec::new(), 0);
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout_at(end, reading.join_next()).await {
            Ok(None) => break,
            Ok(Some(ended)) => {
                let of_socket = ended.map_err(|error| RunError::Unexpected(error.to_string()))??;
                acks += of_socket.len();
                latencies.add(&of_socket);
            }
            Err(_) => {
                violations.push(format!("{} sockets waited in vain for acknowledgements", reading.len()));
                break;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let late = sending.join().map_err(|_| RunError::Unexpected("the thread that sends ended".to_owned()))??;
    Ok(Measured { acks, seconds, cpu, latencies, late, violations })
}

/// Reads all acknowledgements of a socket.
async fn read(mut socket: RawSocket, schedule: Schedule, share: u64) -> Result<Latencies, RunError> {
    let (mut latencies, mut seen) = (Latencies::new()?, 0);
    while seen < share {
        read_acks(&mut socket, |number| {
            seen += 1;
            if number >= schedule.warm_up {
                latencies.record(schedule.due(number).elapsed());
            }
        })
        .await?;
    }
    Ok(latencies)
}

/// Sends each message at its scheduled time.
fn send(mut writers: Vec<(SocketWriter, String)>, schedule: Schedule, stop: &AtomicBool) -> Result<Latencies, RunError> {
    let mut late = Latencies::new()?;
    let (mut number, mut frame) = (0, Vec::new());
    while number < schedule.messages {
        for (writer, message) in &mut writers {
            if number >= schedule.messages || stop.load(Ordering::Relaxed) {
                return Ok(late);
            }
            let due = schedule.due(number);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            frame.clear();
            wire::frame(&mut frame, TEXT, Place::text(message, number).as_bytes());
            let written = writer.write(&frame, || stop.load(Ordering::Relaxed));
            if !written.map_err(|source| RunError::Io { what: "sending messages", source })? {
                return Ok(late);
            }
            if number >= schedule.warm_up {
                late.record(due.elapsed());
            }
            number += 1;
        }
    }
    Ok(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_distances_and_spread_over_the_sockets() {
        let start = Instant::now();
        let schedule = Schedule { start, per_second: 100.0, sockets: 3, warm_up: 0, messages: 8 };
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(150) - start, Duration::from_millis(1_500));
        assert_eq!((0..3).map(|socket| schedule.share(socket)).collect::<Vec<_>>(), [3, 3, 2]);
    }
}
