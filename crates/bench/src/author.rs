use crate::address::Address;
use crate::deliveries::Source;
use crate::error::BenchError;
use crate::fill;
use crate::raw_socket::RawSocket;
use crate::wire;

/// Sends messages to one room of the server and lets the listening sockets see what becomes of them.
#[derive(Debug)]
pub(crate) struct Author {
    socket: RawSocket,
    message: String,
}

impl Author {
    pub(crate) async fn open(address: &Address, token: &str, room: &str, bytes: usize) -> Result<Self, BenchError> {
        let message = format!(r#"{{"type":"message","roomId":"{room}","content":"{}","ref":"m"}}"#, "x".repeat(bytes));
        Ok(Self { socket: RawSocket::open(address, token).await?, message })
    }
}

impl Source for Author {
    async fn send(&mut self) -> Result<(), BenchError> {
        self.socket.send(&self.message).await.map_err(|source| BenchError::Io { what: "sending a message", source })?;
        let mut refused = None;
        // Acknowledgements are of no interest, but those that nobody reads would pile up.
        self.socket.drain(|text| refused = refused.take().or_else(|| wire::error_code(text)))?;
        refused.map_or(Ok(()), |code| Err(fill::refusal(&code)))
    }
}
