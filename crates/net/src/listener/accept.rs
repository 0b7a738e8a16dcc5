//! The accept loop. It never waits for a client, and runs until shutdown.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::connection::Http;
use super::linger;
use super::stream::Slot;
use super::tls::Tls;

/// Maximum number of rejected connections that linger at once so that the client reads its answer. Each holds a descriptor for
/// up to a second; further ones are closed at once.
const MAX_TURNED_AWAY: usize = 32;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Accepting {
    listener: TcpListener,
    tls: Option<Tls>,
    http: Arc<Http>,
    slots: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    tasks: TaskTracker,
    spare: Option<File>,
    pause: Duration,
    failing: bool,
}

impl Accepting {
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<Tls>,
        http: Arc<Http>,
        slots: Arc<Semaphore>,
        tasks: TaskTracker,
    ) -> io::Result<Self> {
        let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
        Ok(Self {
            listener,
            tls,
            http,
            slots,
            turned_away,
            tasks,
            spare: Some(spare()?),
            pause: SHORTEST_PAUSE,
            failing: false,
        })
    }

    /// Accepts until shutdown, then closes the listening socket.
    pub(super) async fn run(mut self) {
        let shutdown = self.http.shutdown.clone();
        shutdown.run_until_cancelled(self.accept_all()).await;
    }

    async fn accept_all(&mut self) {
        loop {
            match self.listener.accept().await {
                Ok((tcp, addr)) => {
                    self.pause = SHORTEST_PAUSE;
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("accepting connections again");
                    }
                    self.admit(tcp, addr);
                }
                Err(error) => self.failed(error).await,
            }
        }
    }

    fn admit(&self, tcp: TcpStream, addr: SocketAddr) {
        let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.turn_away(tcp);
            return;
        };
        let http = Arc::clone(&self.http);
        self.tasks.spawn(http.serve(tcp, addr, self.tls.clone(), Slot::new(permit)));
    }

    fn turn_away(&self, tcp: TcpStream) {
        self.http.meters.refused_full.increment(1);
        // Over TLS an answer would take a handshake, the most expensive operation for a full server.
        if self.tls.is_some() {
            return;
        }
        match Arc::clone(&self.turned_away).try_acquire_owned() {
            Ok(permit) => {
                let (abort, answers) = (self.http.abort.clone(), self.http.options.early_answers.clone());
                self.tasks.spawn(async move {
                    abort.run_until_cancelled(linger::full(tcp, &answers)).await;
                    drop(permit);
                });
            }
            Err(_) => linger::full_at_once(&tcp, &self.http.options.early_answers),
        }
    }

    async fn failed(&mut self, error: io::Error) {
        // The client disconnected before it was accepted; the next one need not wait.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            return;
        }
        if !self.failing {
            self.failing = true;
            tracing::warn!(%error, "can't accept connections; trying again");
        }
        let answered = out_of_descriptors(&error) && self.answer_with_spare().await;
        // Without a pause the loop would spin, because the socket stays readable. After an answered client the pause is short:
        // many more may be waiting.
        self.pause = if answered { SHORTEST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        tokio::time::sleep(self.pause).await;
    }

    /// With all descriptors in use, a client would wait in the backlog until it gives up. Closing the spare descriptor allows
    /// to accept and answer one. Returns whether one was answered.
    async fn answer_with_spare(&mut self) -> bool {
        drop(self.spare.take());
        // Another thread may take the descriptor first; the next pause then tries again.
        let accepted = tokio::time::timeout(SHORTEST_PAUSE, self.listener.accept()).await;
        let answered = if let Ok(Ok((tcp, addr))) = accepted {
            // The system reports exhausted descriptors even while no client waits, so a descriptor may be free again by now.
            self.spare = spare().ok();
            if self.spare.is_some() {
                self.admit(tcp, addr);
            } else {
                self.http.meters.refused_descriptors.increment(1);
                if self.tls.is_none() {
                    linger::full_at_once(&tcp, &self.http.options.early_answers);
                }
            }
            true
        } else {
            false
        };
        if self.spare.is_none() {
            self.spare = spare().ok();
        }
        answered
    }
}

/// A file that holds the spare descriptor.
fn spare() -> io::Result<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" })
}

#[cfg(unix)]
fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;

    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
fn out_of_descriptors(_: &io::Error) -> bool {
    false
}
