//! Many sends in one call, by Linux' io_uring. Each by a call of its own takes an eighth more of a processor.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compio_buf::{BufResult, IntoInner};
use compio_driver::op::{OpCodeFlag, Send, SendFlags};
use compio_driver::{Key, Proactor, PushEntry};
use tokio::net::TcpStream;

use super::{Batch, LONG};
use crate::write_queue::WriteQueue;

/// Sends handed to the kernel in one call, at most.
const MAX: u32 = 256;
/// How long to wait for answers before looking again. None has to be waited for: a send that would block says so at once.
const LOOK: Duration = Duration::from_millis(1);
/// So often in vain, and the ring is given up.
const LOOKS: u32 = 1_000;

type Sending = Key<Send<Bytes, Arc<TcpStream>>>;

pub(super) struct Ring {
    proactor: Proactor,
    /// What the kernel has not answered yet.
    sending: Vec<(Arc<WriteQueue>, Sending)>,
    /// It failed, and is not used any more.
    failed: bool,
}

impl Ring {
    /// For the calling thread. Fails where the kernel has no io_uring, or forbids it.
    pub(super) fn open() -> io::Result<Self> {
        // Twice as much room, since the library has entries of its own.
        let proactor = Proactor::builder()
            .capacity(2 * MAX)
            .single_issuer(true)
            .coop_taskrun(true)
            .detect_opcode_support(OpCodeFlag::Send)
            .build()?;
        Ok(Self { proactor, sending: Vec::new(), failed: false })
    }

    /// From now on each frame is written by itself.
    fn give_up(&mut self, error: &io::Error) {
        tracing::error!(%error, "io_uring failed and is not used any more; the sockets it was writing to are given up");
        self.failed = true;
        // Nobody knows which of them have their frames.
        self.sending.drain(..).for_each(|(write_queue, _)| write_queue.abandon());
    }

    /// Takes in what the kernel has answered.
    fn reap(&mut self) {
        for (write_queue, sending) in std::mem::take(&mut self.sending) {
            match self.proactor.pop(sending) {
                PushEntry::Pending(sending) => self.sending.push((write_queue, sending)),
                PushEntry::Ready(BufResult(sent, send)) => write_queue.finish(send.into_inner(), sent),
            }
        }
    }
}

impl Batch for Ring {
    fn send(&mut self, write_queue: &Arc<WriteQueue>, frame: Bytes) {
        if frame.len() > LONG || self.failed {
            return write_queue.send(frame);
        }
        let Some((socket, frame)) = write_queue.begin(frame) else { return };
        // A socket that would block says so, and the connection's task waits for it.
        match self.proactor.push(Send::new(socket, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)) {
            PushEntry::Pending(sending) => self.sending.push((write_queue.clone(), sending)),
            PushEntry::Ready(BufResult(sent, send)) => write_queue.finish(send.into_inner(), sent),
        }
        if self.sending.len() >= MAX as usize {
            self.submit();
        }
    }

    fn submit(&mut self) {
        let mut looks = 0;
        while !self.sending.is_empty() {
            match self.proactor.poll(Some(LOOK)) {
                Ok(()) => self.reap(),
                Err(error) if looks < LOOKS && matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut) => {
                    looks += 1;
                    // It may have been interrupted with some of the answers there.
                    self.reap();
                }
                Err(error) => self.give_up(&error),
            }
        }
    }
}
