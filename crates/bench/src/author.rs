use crate::address::Address;
use crate::deliveries::Source;
use crate::error::RunError;
use crate::fill;
use crate::raw_socket::RawSocket;
use crate::wire;

/// Sends messages to one room of the server and lets the listening sockets see what becomes of them.
#[derive(Debug)]
pub(crate) struct Author {
    socket: RawSocket,
    /// A message's frame as far as it is always the same.
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
        // As long as the UUID that a careful client sends, so that frames are as large as theirs.
        let text = format!(r#"{},"clientMessageId":"{:036}"}}"#, self.message, self.last);
        self.socket.send(&text).await.map_err(|source| RunError::Io { what: "sending a message", source })?;
        let mut refused = None;
        // Acknowledgements are of no interest, but those that nobody reads would pile up.
        self.socket.drain(|text| refused = refused.take().or_else(|| wire::error_code(text)))?;
        refused.map_or(Ok(()), |code| Err(fill::refusal(&code)))
    }
}
