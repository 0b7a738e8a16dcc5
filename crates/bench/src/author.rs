use crate::address::Address;
use crate::deliveries::Source;
use crate::error::RunError;
use crate::fill;
use crate::raw_socket::RawSocket;
use crate::wire;

/// Sends messages to one room; the listening sockets measure their delivery.
#[derive(Debug)]
pub(crate) struct Author {
    socket: RawSocket,
    /// The constant part of a message's frame.
    message: String,
    last: u64,
}

impl Author {
    pub(crate) async fn open(address: &Address, token: &str, room: &str, bytes: usize) -> Result<Self, RunError> {
        let message = format!(r#"{{"type":"message","roomId":"{room}","content":"{}","ref":"m""#, "x".repeat(bytes));
        Ok(Self { socket: RawSocket::open(address, token).await?, message, last: 0 })
    }
}

impl Source for Author {
    async fn send(&mut self) -> Result<(), RunError> {
        self.last += 1;
        // As long as a UUID, which most clients send, so that frames have a typical size.
        let text = format!(r#"{},"clientMessageId":"{:036}"}}"#, self.message, self.last);
        self.socket.send(&text).await.map_err(|source| RunError::Io { what: "sending a message", source })?;
        let mut refused = None;
        // Acknowledgements are not used, but unread ones would pile up.
        self.socket.drain(|text| refused = refused.take().or_else(|| wire::error_code(text)))?;
        refused.map_or(Ok(()), |code| Err(fill::refusal(&code)))
    }
}
