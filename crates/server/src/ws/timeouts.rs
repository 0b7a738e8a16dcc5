use std::time::Duration;

/// The time-outs of the WebSocket door.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// How long a connection may take to authenticate.
    pub authenticate: Duration,
    /// How long a close frame may take to go out, and the other side to answer it.
    pub close: Duration,
    /// How often the sweep checks every connection's heartbeat and the end of its token.
    pub look: Duration,
    /// How much longer than the heartbeat's interval a connection may be silent.
    pub silence: Duration,
    /// How long a client may read nothing of its replay.
    pub no_progress: Duration,
    /// How long a message may take to arrive, from its first byte to its last.
    pub message: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            authenticate: Duration::from_secs(5),
            close: Duration::from_secs(2),
            look: Duration::from_millis(500),
            silence: Duration::from_secs(10),
            no_progress: Duration::from_secs(10),
            message: Duration::from_secs(30),
        }
    }
}
