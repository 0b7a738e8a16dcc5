use crate::address::Address;
use crate::error::RunError;
use crate::progress::Progress;
use crate::raw_socket::RawSocket;
use crate::wire;

/// Messages in flight: the maximum that the server accepts.
const UNDER_WAY: usize = 64;

/// Sends this many messages to a room and waits for all acknowledgements.
pub(crate) async fn fill(address: &Address, token: &str, room: &str, count: usize, bytes: usize) -> Result<(), RunError> {
    let mut socket = RawSocket::open(address, token).await?;
    let message = format!(r#"{{"type":"message","roomId":"{room}","content":"{}","ref":"f"}}"#, "x".repeat(bytes));
    let progress = Progress::start("filling a room", count);
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < count {
        let free = UNDER_WAY.saturating_sub(sent - acknowledged).min(count - sent);
        let frames = vec![message.clone(); free];
        sent += free;
        socket.send_all(&frames).await.map_err(|source| RunError::Io { what: "sending messages", source })?;
        let mut refused = None;
        socket
            .read(|text| {
                if text.starts_with(br#"{"type":"ack""#) {
                    acknowledged += 1;
                    progress.step();
                } else {
                    refused = refused.take().or_else(|| wire::error_code(text));
                }
            })
            .await?;
        if let Some(code) = refused {
            return Err(refusal(&code));
        }
    }
    socket.close();
    Ok(())
}

/// A rejected message, after which a run cannot continue.
pub(crate) fn refusal(code: &str) -> RunError {
    let hint = if code == "rate_limited" { ": start the server with CHATSPHERE_RATE_LIMIT=off" } else { "" };
    RunError::Unexpected(format!("a message was refused, {code}{hint}"))
}
