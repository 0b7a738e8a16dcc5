use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::elsewhere;
use crate::address::Address;
use crate::author::Author;
use crate::deliveries::Source;
use crate::error::RunError;
use crate::parallel::in_parallel;
use crate::participants::Participants;
use crate::raw_socket::RawSocket;
use crate::wire;

/// Sockets opened concurrently.
const OPENING: usize = 50;
/// Deliveries after which a thread gives up its CPU.
const YIELD_EVERY: u64 = 1_024;
/// Timeout for the deliveries of a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// A room with many members.
pub(super) struct Loud {
    author: Author,
    /// The listening sockets; dropped with this.
    _listening: JoinSet<()>,
    board: Arc<Board>,
    sockets: u64,
    sent: u64,
}

/// Counts the deliveries of all listeners.
#[derive(Default)]
struct Board {
    deliveries: AtomicU64,
    /// The number of deliveries at which the next message may be sent.
    awaited: AtomicU64,
    reached: Notify,
    lost: AtomicU64,
}

/// A loud room under load.
pub(super) struct Shouting {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Loud, Shouted)>,
}

/// The result of the load.
pub(super) struct Shouted {
    pub(super) deliveries: u64,
    pub(super) seconds: f64,
    pub(super) violation: Option<String>,
}

impl Loud {
    pub(super) async fn open(
        address: Address,
        participants: Participants,
        sockets: usize,
        bytes: usize,
    ) -> Result<Self, RunError> {
        let (token, room) = participants.member(0);
        let author = Author::open(&address, &token, &room, bytes).await?;
        let opened = in_parallel("opening sockets", sockets, OPENING, |number| {
            let ((token, room), address) = (participants.member(number), address.clone());
            async move {
                let mut socket = RawSocket::open(&address, &token).await?;
                socket.join(&room).await?;
                Ok(socket)
            }
        })
        .await?;
        let board = Arc::new(Board::default());
        let mut listening = JoinSet::new();
        for socket in opened {
            listening.spawn(listen(socket, Arc::clone(&board)));
        }
        Ok(Self { author, _listening: listening, board, sockets: sockets as u64, sent: 0 })
    }

    /// Keeps `in_flight` messages in flight.
    pub(super) fn start(self, in_flight: usize) -> Shouting {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(self.shout(in_flight as u64, Arc::clone(&stop)));
        Shouting { stop, task }
    }

    /// Sends until stopped, and waits for all deliveries.
    async fn shout(mut self, in_flight: u64, stop: Arc<AtomicBool>) -> (Self, Shouted) {
        let before = self.board.deliveries.load(Ordering::SeqCst);
        let (began, mut violation) = (Instant::now(), None);
        while violation.is_none() {
            let stopped = stop.load(Ordering::Relaxed);
            // The last messages must not disturb the next measurement.
            let messages = if stopped { self.sent } else { (self.sent + 1).saturating_sub(in_flight) };
            if timeout(PATIENCE, self.board.reach(messages * self.sockets)).await.is_err() {
                violation = Some("a message of the loud room did not reach every socket in time".to_owned());
            } else if stopped {
                break;
            } else {
                violation = self.author.send().await.err().map(|error| format!("the loud room: {error}"));
                self.sent += 1;
            }
        }
        let deliveries = self.board.deliveries.load(Ordering::SeqCst) - before;
        let (lost, seconds) = (self.board.lost.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
        if lost > 0 {
            violation = Some(format!("{lost} sockets of the loud room were closed"));
        }
        (self, Shouted { deliveries, seconds, violation })
    }
}

impl Shouting {
    /// Stops sending, and waits for messages in flight.
    pub(super) async fn stop(self) -> Result<(Loud, Shouted), RunError> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(|error| RunError::Unexpected(format!("the loud room ended: {error}")))
    }
}

impl Board {
    /// Waits for this number of deliveries.
    async fn reach(&self, deliveries: u64) {
        self.awaited.store(deliveries, Ordering::SeqCst);
        while self.deliveries.load(Ordering::SeqCst) < deliveries {
            self.reached.notified().await;
        }
    }
}

async fn listen(mut socket: RawSocket, board: Arc<Board>) {
    loop {
        let reading = socket.read(|text| {
            if wire::new_message(text).is_some() {
                let deliveries = board.deliveries.fetch_add(1, Ordering::SeqCst) + 1;
                if deliveries == board.awaited.load(Ordering::SeqCst) {
                    board.reached.notify_one();
                }
                if deliveries.is_multiple_of(YIELD_EVERY) {
                    elsewhere::let_go();
                }
            }
        });
        if reading.await.is_err() {
            board.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}
