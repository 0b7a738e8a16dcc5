//! How the frames of a part of a pass get to their sockets: each by a call to the kernel, or many by one.

#[cfg(target_os = "linux")]
mod ring;

use std::sync::Arc;

use bytes::Bytes;

use crate::write_queue::WriteQueue;

/// A frame longer than this, or a run of frames, is written by itself and at once, however others are: its call to the kernel
/// costs little beside it, and the caller may want to know what the socket took of it.
pub(crate) const LONG: usize = 16 * 1024;

/// Takes frames for many sockets, and writes them.
pub trait Batch {
    /// As [`WriteQueue::send`], but it may be done only when the batch is submitted.
    fn send(&mut self, write_queue: &Arc<WriteQueue>, frame: Bytes);

    /// Does what is not done yet. Never waits for a client.
    fn submit(&mut self);
}

/// Each frame is written by itself, at once.
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

/// The fastest way that this machine has. For the calling thread alone.
pub fn fastest_batch() -> Box<dyn Batch> {
    #[cfg(target_os = "linux")]
    match ring::Ring::open() {
        Ok(ring) => return Box::new(ring),
        // Containers often forbid it.
        Err(error) => tracing::debug!(%error, "without io_uring; rooms of many subscribers take more of the processor"),
    }
    Box::new(OneByOne)
}

#[cfg(test)]
mod tests;
