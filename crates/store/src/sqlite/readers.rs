//! The connections that read, each used by one read at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatsphere_core::{Error, Outage};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection::open_reader;
use super::failure::read_error;
use crate::health::Health;

/// A bounded set of reading connections, made when first needed.
#[derive(Clone)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    health: Arc<Health>,
}

/// Why a read ended early.
pub(super) enum Stop {
    Sql(rusqlite::Error),
    Told(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf, readers: usize, health: Arc<Health>) -> Self {
        let permits = Arc::new(Semaphore::new(readers.clamp(1, Semaphore::MAX_PERMITS)));
        Self { path: Arc::new(path), permits, idle: Arc::default(), health }
    }

    /// Runs a read on a thread that may block. All its statements see one snapshot.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Outage::StoreAway)?;
        let readers = self.clone();
        let blocking = move || {
            let result = readers.read_now(read);
            drop(permit);
            result
        };
        match tokio::task::spawn_blocking(blocking).await {
            Ok(Ok(value)) => {
                self.health.back();
                Ok(value)
            }
            Ok(Err(Stop::Told(error))) => Err(error),
            Ok(Err(Stop::Sql(error))) => Err(read_error(&self.health, &error)),
            Err(panicked) => {
                self.health.failed(&panicked);
                Err(Error::Internal)
            }
        }
    }

    fn read_now<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, Stop> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path)?,
        };
        let result = {
            let snapshot = connection.unchecked_transaction()?;
            read(&snapshot)
        };
        if !self.permits.is_closed() {
            self.idle().push(connection);
        }
        result
    }

    /// Takes no more reads and closes the connections. Those that read at the moment are closed after that.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
