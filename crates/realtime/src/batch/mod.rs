//! Writes to many sockets during a pass, with one system call per write or, by io_uring, one for many.

#[cfg(target_os = "linux")]
mod io_uring;

use std::sync::Arc;

use bytes::Bytes;

use crate::write_queue::WriteQueue;

/// Longer bytes are written at once and never batched: the system call is cheap next to their size, and the caller may ask
/// afterwards how much the socket accepted.
pub(crate) const MAX_BATCHED_LEN: usize = 16 * 1024;

/// Collects frames for many sockets and writes them.
pub trait Batch {
    /// Like [`WriteQueue::send`], but the write may be deferred until [`Batch::submit`].
    fn send(&mut self, write_queue: &Arc<WriteQueue>, frame: Bytes);

    /// Completes all deferred writes. Never waits for a client.
    fn submit(&mut self);
}

/// Writes each frame at once, with a system call of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct OneByOne;

impl Batch for OneByOne {
    fn send(&mut self, write_queue: &Arc<WriteQueue>, frame: Bytes) {
        write_queue.send(frame);
    }

    fn submit(&mut self) {}
}

impl Batch for Box<dyn Batch> {
    fn send(&mut self, write_queue: &Arc<WriteQueue>, frame: Bytes) {
        (**self).send(write_queue, frame);
    }

    fn submit(&mut self) {
        (**self).submit();
    }
}

/// The fastest implementation that the kernel supports. It belongs to the calling thread.
pub fn fastest_batch() -> Box<dyn Batch> {
    #[cfg(target_os = "linux")]
    match io_uring::IoUring::open() {
        Ok(batch) => return Box::new(batch),
        Err(error) => tracing::debug!(%error, "io_uring is not available; large rooms need more CPU time"),
    }
    Box::new(OneByOne)
}

#[cfg(test)]
mod tests;
