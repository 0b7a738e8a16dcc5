//! Moves commits from the write-ahead log into the database file, off the path of the commits: within a commit it would
//! hold everyone up for as long as the disk takes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;

use crate::health::Health;

/// From this many pages of 4 KiB on, the log is copied while the writer goes on.
const COPY_FROM: i32 = 1_000;
/// From this many on, the writer is kept waiting for the little that came in the meantime, so that the log begins anew:
/// under steady load it would grow for ever.
const RESTART_FROM: i32 = 8_000;

/// Tells the checkpointer how long the log has become.
pub(super) struct Checkpoints(SyncSender<i32>);

impl Checkpoints {
    pub(super) fn new() -> (Self, Receiver<i32>) {
        let (sender, receiver) = sync_channel(1);
        (Self(sender), receiver)
    }

    /// Called after each commit.
    pub(super) fn log_has(&self, pages: i32) {
        if pages >= COPY_FROM {
            // A checkpointer that is at it has one more order waiting: that is enough.
            let _ = self.0.try_send(pages);
        }
    }
}

/// Checkpoints whenever it is told to, until the writer is gone.
pub(super) fn run(connection: &Connection, orders: &Receiver<i32>, health: &Arc<Health>) {
    while let Ok(pages) = orders.recv() {
        let mut done = checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)");
        if pages >= RESTART_FROM {
            done = done.and_then(|()| checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)"));
        }
        if let Err(error) = done {
            // Nothing is lost: the log grows until a later checkpoint works.
            health.failed(&error);
        }
    }
}

fn checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    // It answers whether it was held up by a reader, which the next one makes good.
    connection.prepare_cached(sql)?.query_row([], |_| Ok(()))
}
