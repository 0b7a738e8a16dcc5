//! Many sends in one call, by Linux' io_uring. Each by a call of its own takes an eighth more of a processor.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use compio_buf::{BufResult, IntoInner};
use compio_driver::op::{Send, SendFlags};
use compio_driver::{Key, Proactor, PushEntry};
use tokio::net::TcpStream;

use super::Batch;
use crate::outbound::Outbound;

/// Sends handed to the kernel in one call, at most.
const MOST: u32 = 256;
/// A frame so long is sent by itself: its call costs little beside it.
const LONG: usize = 16 * 1024;

type Sending = Key<Send<Bytes, Arc<TcpStream>>>;

pub(super) struct Ring {
    proactor: Proactor,
    /// What the kernel has not answered yet.
    sending: Vec<(Arc<Outbound>, Sending)>,
}

impl Ring {
    /// For the calling thread. Fails where the kernel has no io_uring, or forbids it.
    pub(super) fn open() -> io::Result<Self> {
        let proactor = Proactor::builder().capacity(MOST).single_issuer(true).coop_taskrun(true).build()?;
        Ok(Self { proactor, sending: Vec::new() })
    }

    /// Takes in what the kernel has answered.
    fn reap(&mut self) {
        for (outbound, sending) in std::mem::take(&mut self.sending) {
            match self.proactor.pop(sending) {
                PushEntry::Pending(sending) => self.sending.push((outbound, sending)),
                PushEntry::Ready(BufResult(sent, send)) => outbound.finish(send.into_inner(), sent),
            }
        }
    }
}

impl Batch for Ring {
    fn send(&mut self, outbound: &Arc<Outbound>, frame: Bytes) {
        if frame.len() > LONG {
            return outbound.send(frame);
        }
        let Some((socket, frame)) = outbound.begin(frame) else { return };
        // A socket that would block says so, and the connection's task waits for it.
        match self.proactor.push(Send::new(socket, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)) {
            PushEntry::Pending(sending) => self.sending.push((outbound.clone(), sending)),
            PushEntry::Ready(BufResult(sent, send)) => outbound.finish(send.into_inner(), sent),
        }
        if self.sending.len() >= MOST as usize {
            self.submit();
        }
    }

    fn submit(&mut self) {
        while !self.sending.is_empty() {
            match self.proactor.poll(None) {
                Ok(()) => self.reap(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "io_uring failed; the sockets it was writing to are given up");
                    // Nobody knows which of them have their frames.
                    self.sending.drain(..).for_each(|(outbound, _)| outbound.abandon());
                }
            }
        }
    }
}
