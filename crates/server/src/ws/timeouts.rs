use std::time::Duration;

/// The timeouts of the WebSocket front door.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Time to authenticate.
    pub authenticate: Duration,
    /// Time to send a close frame, and for the client to answer it.
    pub close: Duration,
    /// Interval of the sweep over heartbeats and token expiry.
    pub look: Duration,
    /// How much longer than the heartbeat interval a client may be silent.
    pub silence: Duration,
    /// How long a client may read nothing of its replay.
    pub no_progress: Duration,
    /// Time for a message to arrive, from its first byte to its last.
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
