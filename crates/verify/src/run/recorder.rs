use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::judge::record::{Change, Seen, Tick, What};

/// Records the actions and observations of all clients.
#[derive(Debug)]
pub(crate) struct Recorder {
    clock: AtomicU64,
    devices: Vec<Mutex<Vec<Seen>>>,
    changes: Mutex<Vec<Change>>,
    acked: AtomicU64,
}

impl Recorder {
    pub(crate) fn new(devices: usize) -> Self {
        Self {
            clock: AtomicU64::new(1),
            devices: (0..devices).map(|_| Mutex::default()).collect(),
            changes: Mutex::default(),
            acked: AtomicU64::new(0),
        }
    }

    /// A tick between earlier and later observations.
    pub(crate) fn tick(&self) -> Tick {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn saw(&self, device: usize, connection: u32, what: What) -> Tick {
        if matches!(what, What::Acked { .. }) {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
        let Some(log) = self.devices.get(device) else { return 0 };
        let mut log = locked(log);
        // Under the lock, so that a client's ticks are in ascending order.
        let at = self.tick();
        log.push(Seen { at, connection, what });
        at
    }

    pub(crate) fn changed(&self, change: Change) {
        locked(&self.changes).push(change);
    }

    /// The number of acknowledgements so far.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut locked(&self.changes))
    }

    pub(crate) fn take_seen(&self, device: usize) -> Vec<Seen> {
        self.devices.get(device).map(|log| std::mem::take(&mut *locked(log))).unwrap_or_default()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
