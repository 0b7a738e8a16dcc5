use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinHandle;

use super::elsewhere;
use crate::address::Address;
use crate::error::RunError;
use crate::raw_socket::RawSocket;
use crate::wire::{self, TEXT};

/// Messages per write.
const AT_ONCE: usize = 32;
/// Answers after which a thread gives up its CPU.
const YIELD_EVERY: u64 = 256;

/// A client that sends as fast as the server reads, without waiting for answers.
pub(super) struct FloodingClient {
    stop: Arc<AtomicBool>,
    acks: Arc<AtomicU64>,
    began: Instant,
    writing: JoinHandle<()>,
    reading: JoinHandle<String>,
}

/// The result of a flood.
pub(super) struct Flooded {
    pub(super) acks: u64,
    pub(super) seconds: f64,
    /// How the server closed the connection, if it did.
    pub(super) ended: Option<String>,
}

impl FloodingClient {
    pub(super) async fn start(address: Address, (token, room): (String, String), bytes: usize) -> Result<Self, RunError> {
        let (mut socket, mut writer) = RawSocket::open(&address, &token).await?.writer()?;
        let text = format!(r#"{{"type":"message","roomId":"{room}","content":"{}","ref":"f"}}"#, "x".repeat(bytes));
        let mut frames = Vec::new();
        (0..AT_ONCE).for_each(|_| wire::frame(&mut frames, TEXT, text.as_bytes()));
        let (stop, acks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let stopped = Arc::clone(&stop);
        let writing = tokio::task::spawn_blocking(move || {
            let stopped = || stopped.load(Ordering::Relaxed);
            while !stopped() && matches!(writer.write(&frames, stopped), Ok(true)) {
                elsewhere::let_go();
            }
        });
        let counted = Arc::clone(&acks);
        let reading = tokio::spawn(async move {
            loop {
                let reading = socket.read(|text| {
                    if text.starts_with(br#"{"type":"ack""#) {
                        let acks = counted.fetch_add(1, Ordering::Relaxed) + 1;
                        if acks.is_multiple_of(YIELD_EVERY) {
                            elsewhere::let_go();
                        }
                    }
                });
                if let Err(error) = reading.await {
                    return error.to_string();
                }
            }
        });
        Ok(Self { stop, acks, began: Instant::now(), writing, reading })
    }

    /// Stops the flood.
    pub(super) async fn stop(self) -> Result<Flooded, RunError> {
        let (acks, seconds) = (self.acks.load(Ordering::Relaxed), self.began.elapsed().as_secs_f64());
        self.stop.store(true, Ordering::Relaxed);
        let failed = |error: tokio::task::JoinError| RunError::Unexpected(error.to_string());
        let ended = if self.reading.is_finished() {
            Some(self.reading.await.map_err(failed)?)
        } else {
            self.reading.abort();
            None
        };
        self.writing.await.map_err(failed)?;
        Ok(Flooded { acks, seconds, ended })
    }
}
