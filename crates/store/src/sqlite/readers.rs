//! The threads that read, each with a connection of its own.
//!
//! Threads of its own rather than the runtime's pool for blocking work: that one wakes another thread for each read, and under
//! load the waking costs more than the reading. Here a thread that is done takes the next read that waits, and only reads that
//! find everyone asleep wake someone.

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

/// A bounded set of reading threads, started when first needed. They end when it is closed or dropped.
pub(super) struct Readers(Arc<Shared>);

struct Shared {
    path: PathBuf,
    most: usize,
    health: Arc<Health>,
    queue: Mutex<JobQueue>,
    called: Condvar,
    /// Notified whenever a thread has ended.
    left: Notify,
}

/// A read that waits. Given no connection, it tells that the file could not be opened.
type Read = Box<dyn FnOnce(rusqlite::Result<&Connection>) + Send>;

#[derive(Default)]
struct JobQueue {
    waiting: VecDeque<Read>,
    threads: usize,
    /// Threads that sleep and were not called yet.
    idle: usize,
    /// Threads that were called and have not woken yet.
    calls: usize,
    closed: bool,
}

/// Why a read ended early.
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

    /// Runs a read on a thread that may block. All its statements see one snapshot.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Box::new(move |connection| {
            let result = match connection {
                // A reader who no longer waits need not be read for.
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
            // It panicked, or the readers were closed before its turn.
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

    /// Returns once no thread is left, nor its connection.
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

    /// Takes no more reads; their threads end and close their connections. Those under way are finished.
    pub(super) fn close(&self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        queue.waiting.clear();
        self.0.called.notify_all();
    }
}

/// Tells that a thread has ended, however it did.
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
                    // A connection that a panic went through may be in any state.
                    match catch_unwind(AssertUnwindSafe(|| read(Ok(&opened)))) {
                        // One that is still in a transaction would refuse every other.
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
    // A read has nothing to undo, and after some errors SQLite has ended the transaction by itself.
    if !connection.is_autocommit() {
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    result
}
