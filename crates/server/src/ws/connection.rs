//! The task of one connection, from the upgrade to its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chatsphere_net::listener::{Slot, Upgraded, UpgradedStream};
use chatsphere_net::websocket::Decoder;
use chatsphere_net::{LATE, in_time};
use chatsphere_protocol::close;
use chatsphere_realtime::frame::encode;
use chatsphere_realtime::{SendWindow, Socket, WriteQueue};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::answers::{self, Correlation};
use super::connection_registry::Session;
use super::frame_rate_limit::FrameRateLimit;
use super::frames::Next;
use super::reader::Reader;
use super::upgrade::Credentials;
use super::writer::Writer;
use super::{Mode, WsState};

/// The state with which a new connection starts.
pub(super) struct Opening {
    pub(super) taken: Upgraded,
    pub(super) mode: Mode,
    pub(super) credentials: Credentials,
    /// The answer to the handshake, to be written first; empty if it was already written.
    pub(super) answer: Bytes,
    /// The client's address, as reported by trusted proxies.
    pub(super) client: Option<IpAddr>,
}

/// Reads frames, handles them and writes the answers until the connection ends.
///
/// The future holds only what an idle connection needs, because most connections are idle. Rare work is boxed, and its future
/// lives only as long as the work.
pub(super) fn run(state: Arc<WsState>, opening: Opening) -> impl Future<Output = ()> + Send {
    let beginning = Box::pin(begin(state, opening));
    async move {
        let mut live = beginning.await;
        if live.connection.session.is_some() {
            let Live { connection, writer, .. } = &mut *live;
            let patience = connection.state.sessions.times.close;
            let write_queue = connection.write_queue.clone();
            tokio::select! {
                biased;
                () = connection.converse() => {}
                () = writer.run(&write_queue, patience) => {}
            }
        }
        Box::pin(end(live)).await;
    }
}

/// A running connection. Boxed as a whole, because a future that moves it would hold it twice.
struct Live {
    connection: Connection,
    writer: Writer,
    /// The connection counts against the listener's limit until this is dropped.
    _slot: Option<Arc<Slot>>,
}

/// Takes over the socket and authenticates the client. Without a session afterwards, the connection must end.
async fn begin(state: Arc<WsState>, opening: Opening) -> Box<Live> {
    let Opening { taken: Upgraded { stream, read_ahead, slot }, mode, credentials, answer, client } = opening;
    let (reader, mut writer, socket) = split(stream);
    let write_queue = Arc::new(WriteQueue::new(socket, state.chat.limits.outbound_queue_bytes));
    let patience = state.sessions.times.close;
    let mut connection = Connection::new(state, write_queue.clone(), mode, reader, BytesMut::from(&*read_ahead));
    connection.client = client;
    let begun = tokio::select! {
        biased;
        begun = connection.open(credentials, answer) => begun,
        () = writer.run(&write_queue, patience) => Err(Ended),
    };
    if begun.is_err() {
        connection.leave_sessions();
    }
    Box::new(Live { connection, writer, _slot: slot })
}

/// Writes the remaining frames and gives the client a moment to close its side.
async fn end(mut live: Box<Live>) {
    let Live { connection, writer, .. } = &mut *live;
    let patience = connection.state.sessions.times.close;
    let write_queue = connection.write_queue.clone();
    connection.record_end(write_queue.closing());
    write_queue.close(close::NORMAL, "");
    let _ = timeout(patience, writer.run(&write_queue, patience)).await;
    connection.leave_sessions();
    // The server shuts down its write side first (RFC 6455, section 7.1.1). Closing both while data is arriving would reset the
    // connection, and the close frame could be lost.
    let _ = timeout(patience, writer.shutdown()).await;
    let _ = timeout(patience, discard(&mut connection.reader)).await;
}

async fn discard(reader: &mut Reader) {
    let mut buffer = BytesMut::new();
    while matches!(reader.read(&mut buffer).await, Ok(1..)) {
        buffer.clear();
    }
}

fn split(stream: UpgradedStream) -> (Reader, Writer, Socket) {
    match stream {
        UpgradedStream::Plain(socket) => {
            let socket = Arc::new(socket);
            (Reader::Direct(socket.clone()), Writer::Direct(socket.clone()), Socket::Direct(socket))
        }
        UpgradedStream::Other(stream) => {
            let (read, write) = tokio::io::split(stream);
            (Reader::Stream(Box::new(read)), Writer::of_stream(write), Socket::Queued)
        }
    }
}

/// The state of one connection's task.
pub(super) struct Connection {
    pub(super) state: Arc<WsState>,
    pub(super) write_queue: Arc<WriteQueue>,
    pub(super) mode: Mode,
    /// `None` until the connection is authenticated.
    pub(super) session: Option<Arc<Session>>,
    /// The window of unacknowledged messages.
    pub(super) unanswered: Option<Box<SendWindow>>,
    pub(super) client: Option<IpAddr>,
    /// Whether the client's frames are rate limited. Frames of an application's backend are not.
    pub(super) is_limited: bool,
    pub(super) reader: Reader,
    /// Received bytes of an incomplete frame.
    pub(super) buffer: BytesMut,
    /// When the first byte of an incomplete message arrived, in milliseconds since the node started; 0 if there is none.
    pub(super) began_at: u64,
    pub(super) rate: FrameRateLimit,
    pub(super) decoder: Decoder,
}

/// The connection has ended or must end.
pub(super) struct Ended;

impl Connection {
    fn new(state: Arc<WsState>, write_queue: Arc<WriteQueue>, mode: Mode, reader: Reader, buffer: BytesMut) -> Self {
        let decoder = Decoder::new(state.chat.limits.frame_bytes);
        Self {
            state,
            write_queue,
            mode,
            session: None,
            unanswered: None,
            client: None,
            is_limited: true,
            reader,
            buffer,
            began_at: 0,
            rate: FrameRateLimit::default(),
            decoder,
        }
    }

    /// Reads and handles frames until either side ends the connection.
    async fn converse(&mut self) {
        let stopping = self.state.stopping.clone();
        let stopping = stopping.cancelled();
        tokio::pin!(stopping);
        loop {
            // Boxed, so that the future of an idle connection does not include it.
            let waited = match self.take_frames() {
                Ok(Next::Read) if self.began_at == 0 => None,
                Ok(Next::Read) => Some(Box::pin(self.read_on()).await),
                Ok(next) => Some(Box::pin(self.wait_for(next)).await),
                Err(Ended) => return,
            };
            match waited {
                None => {}
                Some(Ok(())) => continue,
                Some(Err(Ended)) => return,
            }
            tokio::select! {
                biased;
                () = &mut stopping => return Box::pin(self.finish()).await,
                read = self.reader.read(&mut self.buffer) => match (read, &self.session) {
                    (Ok(1..), Some(session)) => self.state.sessions.heard(session),
                    _ => return self.write_queue.abandon(),
                },
            }
        }
    }

    /// Completes the work that must precede the next frame.
    pub(super) async fn wait_for(&mut self, next: Next) -> Result<(), Ended> {
        let now = self.state.sessions.elapsed();
        match next {
            Next::Read => {}
            Next::Complete(deferred, pause) => {
                deferred(self).await?;
                self.pause(pause).await?;
            }
            Next::AwaitAnswer => {
                if let Some(unanswered) = &mut self.unanswered {
                    unanswered.wait_for_permit(self.state.chat.limits.unanswered_sends).await;
                }
            }
            Next::Pause(pause) => self.pause(pause).await?,
        }
        if self.began_at > 0 {
            // The server did not read meanwhile, so this delay is not the client's.
            self.began_at += self.state.sessions.elapsed().saturating_sub(now);
        }
        Ok(())
    }

    /// Reads more of an incomplete message. Its last byte must arrive within [`Timeouts::message`](super::Timeouts::message) of
    /// its first.
    async fn read_on(&mut self) -> Result<(), Ended> {
        let most = self.state.sessions.times.message;
        let stopping = self.state.stopping.clone();
        let asked = self.state.sessions.elapsed();
        let left = most.saturating_sub(Duration::from_millis(asked.saturating_sub(self.began_at)));
        let read = tokio::select! {
            biased;
            () = stopping.cancelled() => {
                self.finish().await;
                return Err(Ended);
            }
            read = in_time(left, self.reader.read(&mut self.buffer)) => read,
        };
        match (read, &self.session) {
            (Ok(Ok(1..)), session) => {
                session.iter().for_each(|session| self.state.sessions.heard(session));
                let now = self.state.sessions.elapsed();
                if Duration::from_millis(now.saturating_sub(asked)) > left + LATE {
                    // The process was suspended.
                    self.began_at = now;
                }
                Ok(())
            }
            (Ok(_), _) => {
                self.write_queue.abandon();
                Err(Ended)
            }
            (Err(_), _) => {
                let message = "a message did not arrive in time: send it at once, or in parts that follow one another";
                self.send(&answers::early_error(&Correlation::default(), "slow_message", message));
                self.close(close::TOO_SLOW, "slow_message")
            }
        }
    }

    /// Stops reading for a while. A shutdown of the server ends the pause and the connection.
    async fn pause(&mut self, pause: Duration) -> Result<(), Ended> {
        if pause.is_zero() {
            return Ok(());
        }
        let stopping = self.state.stopping.clone();
        tokio::select! {
            biased;
            () = stopping.cancelled() => {
                self.finish().await;
                return Err(Ended);
            }
            () = sleep(pause) => {}
        }
        if let Some(session) = &self.session {
            // The socket has more unread bytes, so the client is not silent.
            self.state.sessions.heard(session);
        }
        Ok(())
    }

    pub(super) fn send(&self, frame: &impl Serialize) {
        if let Some(frame) = encode(frame) {
            self.write_queue.send(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Every idle connection pays for the size of this future.
    #[test]
    fn an_idle_connections_future_stays_small() {
        let (future, live) = (size_of_future(run), size_of::<Live>());
        assert!(future <= 384 && live <= 208, "the future has {future} bytes, the connection {live}");
    }
}
