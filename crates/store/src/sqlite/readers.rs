//! The threads for reads, each with a connection of its own.
//!
//! The runtime's pool for blocking work is not used, because it wakes another thread for each read, and under load the waking
//! costs more than the read. Here a thread that has finished takes the next waiting read, and a new read wakes a thread only if
//! one sleeps.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use chatsphere_core::{Error, Unavailable};
use rusqlite::Connection;
use tokio::sync::{Notify, oneshot};

use super::connection::open_reader;
use super::failure::read_error;
use crate::health::Health;

/// A bounded set of threads for reads. Each starts when it is first needed, and ends when the set is closed or dropped.
pub(super) struct Readers(Arc<Shared>);

struct Shared {
    path: PathBuf,
    most: usize,
    health: Arc<Health>,
    queue: Mutex<JobQueue>,
    called: Condvar,
    /// Notified when a thread has ended.
    left: Notify,
}

/// A waiting read. If the file could not be opened, it gets the error in place of a connection.
type Read = Box<dyn FnOnce(rusqlite::Result<&Connection>) + Send>;

#[derive(Default)]
struct JobQueue {
    waiting: VecDeque<Read>,
    threads: usize,
    /// The sleeping threads that were not woken.
    idle: usize,
    /// The threads that were woken and do not run yet.
    calls: usize,
    closed: bool,
}

/// Why a read failed.
pub(super) enum Stop {
    Sql(rusqlite::Error),
    Refused(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf, most: usize, health: Arc<Health>) -> Self {
        Self(Arc::new(Shared {
            path,
            most: most.max(1),
            health,
            queue: Mutex::default(),
            called: Condvar::new(),
            left: Notify::new(),
        }))
    }

    /// Runs a read on one of the threads. All its statements see one snapshot.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Box::new(move |connection| {
            let result = match connection {
                // The caller was dropped, so the read is skipped.
                Ok(_) if answer.is_closed() => return,
                Ok(connection) => in_snapshot(connection, read),
                Err(error) => Err(Stop::Sql(error)),
            };
            let _ = answer.send(result);
        }))?;
        match answered.await {
            Ok(Ok(value)) => {
                self.0.health.back();
                Ok(value)
            }
            Ok(Err(Stop::Refused(error))) => Err(error),
            Ok(Err(Stop::Sql(error))) => Err(read_error(&self.0.health, &error)),
            // The read panicked, or the readers were closed before its turn.
            Err(_) if self.0.queue().closed => Err(Unavailable::StoreAway.into()),
            Err(_) => Err(Error::Internal),
        }
    }

    fn hand_in(&self, read: Read) -> Result<(), Error> {
        let mut queue = self.0.queue();
        if queue.closed {
            return Err(Unavailable::StoreAway.into());
        }
        queue.waiting.push_back(read);
        if queue.idle > 0 {
            queue.idle -= 1;
            queue.calls += 1;
            // A woken thread would otherwise wait for this lock.
            drop(queue);
            self.0.called.notify_one();
        } else if queue.threads < self.0.most {
            queue.threads += 1;
            let shared = Arc::clone(&self.0);
            let started = std::thread::Builder::new().name("sqlite-read".to_owned()).spawn(move || {
                let _leave = Leave(&shared);
                shared.work();
            });
            if let Err(error) = started {
                self.0.health.failed(&error);
                queue.threads -= 1;
                if queue.threads == 0 {
                    queue.waiting.clear();
                }
            }
        }
        Ok(())
    }

    /// Returns once all threads have ended and closed their connections.
    pub(super) async fn closed(&self) {
        loop {
            let mut left = std::pin::pin!(self.0.left.notified());
            left.as_mut().enable();
            if self.0.queue().threads == 0 {
                return;
            }
            left.await;
        }
    }

    /// Accepts no more reads. The threads finish the current reads, close their connections and end.
    pub(super) fn close(&self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        queue.waiting.clear();
        self.0.called.notify_all();
    }
}

/// Counts the end of a thread on drop, also after a panic.
struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.queue().threads -= 1;
        self.0.left.notify_waiters();
    }
}

impl Shared {
    fn work(&self) {
        let mut connection = None;
        while let Some(read) = self.next() {
            let opened = match connection.take() {
                Some(opened) => Ok(opened),
                None => open_reader(&self.path),
            };
            match opened {
                Ok(opened) => {
                    // After a panic the connection may be in any state, so it is closed.
                    match catch_unwind(AssertUnwindSafe(|| read(Ok(&opened)))) {
                        // A connection that is still in a transaction would reject every other, so it is closed.
                        Ok(()) => connection = opened.is_autocommit().then_some(opened),
                        Err(_) => self.health.failed(&"a read panicked"),
                    }
                }
                Err(error) => read(Err(error)),
            }
        }
    }

    fn next(&self) -> Option<Read> {
        let mut queue = self.queue();
        loop {
            if let Some(read) = queue.waiting.pop_front() {
                return Some(read);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            while queue.calls == 0 && !queue.closed {
                queue = self.called.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            queue.calls = queue.calls.saturating_sub(1);
        }
    }

    fn queue(&self) -> MutexGuard<'_, JobQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn in_snapshot<T>(connection: &Connection, read: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, Stop> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = read(connection);
    // A read changes nothing, so it is rolled back. After some errors SQLite has already ended the transaction.
    if !connection.is_autocommit() {
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    result
}
