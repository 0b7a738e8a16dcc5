//! Batches sends by io_uring (Linux). A system call for each send takes an eighth more CPU time.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compio_buf::{BufResult, IntoInner};
use compio_driver::op::{OpCodeFlag, Send, SendFlags};
use compio_driver::{Key, Proactor, PushEntry};
use tokio::net::TcpStream;

use super::{Batch, MAX_BATCHED_LEN};
use crate::write_queue::WriteQueue;

/// Maximum number of sends in one system call.
const MAX_SENDS: u32 = 256;
/// How long one poll for completions lasts. No send waits: one that would block completes at once with an error.
const POLL_TIMEOUT: Duration = Duration::from_millis(1);
/// After this many polls without a completion, the ring is abandoned.
const MAX_POLLS: u32 = 1_000;

type Completion = Key<Send<Bytes, Arc<TcpStream>>>;

pub(super) struct IoUring {
    proactor: Proactor,
    /// Sends that the kernel has not completed.
    in_flight: Vec<(Arc<WriteQueue>, Completion)>,
    /// The ring failed and is no longer used.
    failed: bool,
}

impl IoUring {
    /// A ring for the calling thread. Fails where the kernel lacks io_uring or forbids it, as containers often do.
    pub(super) fn open() -> io::Result<Self> {
        // Twice the batch size, because the library uses entries of its own.
        let proactor = Proactor::builder()
            .capacity(2 * MAX_SENDS)
            .single_issuer(true)
            .coop_taskrun(true)
            .detect_opcode_support(OpCodeFlag::Send)
            .build()?;
        Ok(Self { proactor, in_flight: Vec::new(), failed: false })
    }

    /// Stops using io_uring: from now on each frame is written by itself.
    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "io_uring failed and is no longer used; connections with sends in flight are closed");
        self.failed = true;
        // It is unknown which of these frames were sent.
        self.in_flight.drain(..).for_each(|(write_queue, _)| write_queue.abandon());
    }

    /// Processes completed sends.
    fn reap(&mut self) {
        for (write_queue, completion) in std::mem::take(&mut self.in_flight) {
            match self.proactor.pop(completion) {
                PushEntry::Pending(completion) => self.in_flight.push((write_queue, completion)),
                PushEntry::Ready(BufResult(sent, send)) => write_queue.finish_send(send.into_inner(), sent),
            }
        }
    }
}

impl Batch for IoUring {
    fn send(&mut self, write_queue: &Arc<WriteQueue>, frame: Bytes) {
        if frame.len() > MAX_BATCHED_LEN || self.failed {
            return write_queue.send(frame);
        }
        let Some((socket, frame)) = write_queue.begin_send(frame) else { return };
        // With `DONTWAIT` a full socket returns an error at once; the connection's task then waits for the socket.
        match self.proactor.push(Send::new(socket, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)) {
            PushEntry::Pending(completion) => self.in_flight.push((write_queue.clone(), completion)),
            PushEntry::Ready(BufResult(sent, send)) => write_queue.finish_send(send.into_inner(), sent),
        }
        if self.in_flight.len() >= MAX_SENDS as usize {
            self.submit();
        }
    }

    fn submit(&mut self) {
        let mut polls = 0;
        while !self.in_flight.is_empty() {
            match self.proactor.poll(Some(POLL_TIMEOUT)) {
                Ok(()) => self.reap(),
                Err(error) if polls < MAX_POLLS && matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut) => {
                    polls += 1;
                    // An interrupted poll may have completed some sends.
                    self.reap();
                }
                Err(error) => self.fail(&error),
            }
        }
    }
}
