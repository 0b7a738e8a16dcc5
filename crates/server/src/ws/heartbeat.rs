use std::sync::Arc;

use chatsphere_core::Timestamp;

use super::connection_registry::Session;

/// The part of a session that the sweep reads. The states of all sessions are contiguous: following a pointer into each of
/// 20,000 sessions would take as long as the rest of the sweep.
pub(super) struct HeartbeatState {
    pub(super) session: Arc<Session>,
    /// When its token expires.
    pub(super) expires_at: Timestamp,
    /// When the session is pinged next, in milliseconds since the node started, like the other times.
    ping_at: u64,
    /// Until then only the token's expiry can be due.
    quiet_until: u64,
}

/// The action that is due for a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Expired,
    /// The client was silent for too long.
    Silent,
    Ping,
}

impl HeartbeatState {
    pub(super) fn new(session: Arc<Session>, ping_at: u64) -> Self {
        let expires_at = session.subscriber.caller().expires_at;
        Self { session, expires_at, ping_at, quiet_until: 0 }
    }

    /// The action that is due now, by both clocks. A session is closed after a silence longer than `silence`, counted from
    /// `since` at the earliest. It is pinged every `interval()`.
    pub(super) fn due(
        &mut self,
        now: u64,
        wall: Timestamp,
        since: u64,
        silence: u64,
        interval: impl FnOnce() -> u64,
    ) -> Option<Due> {
        if self.expires_at <= wall {
            return Some(Due::Expired);
        }
        if now < self.quiet_until {
            return None;
        }
        // Bytes that arrive later only postpone the end, so this is never too late.
        let silent_after = self.session.heard_at().max(since) + silence;
        let due = if now > silent_after {
            Some(Due::Silent)
        } else if now >= self.ping_at {
            self.ping_at = now + interval();
            Some(Due::Ping)
        } else {
            None
        };
        self.quiet_until = self.ping_at.min(silent_after + 1);
        due
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{Caller, ConnectionId, UserId, UserRef, Username};
    use chatsphere_realtime::{Socket, Subscriber, WriteQueue};

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    #[test]
    fn pings_come_at_their_time_and_silence_ends_it() {
        let user = UserRef { id: UserId::new(START), username: Username::from_stored("ada".to_owned()) };
        let caller = Arc::new(Caller::operator(user, START));
        let expires_at = caller.expires_at;
        let write_queue = Arc::new(WriteQueue::new(Socket::Queued, 1 << 20));
        let session = Arc::new(Session::new(Subscriber::new(ConnectionId::new(START), caller, write_queue).into(), 0, 1_000));
        let mut state = HeartbeatState::new(session.clone(), 20_000);
        let mut due = |now| state.due(now, START, 0, 35_000, || 25_000);
        assert_eq!([1_000, 19_999, 20_000, 20_500].map(&mut due), [None, None, Some(Due::Ping), None]);
        assert_eq!([36_000, 36_001].map(&mut due), [None, Some(Due::Silent)]);
        session.heard(30_000);
        assert_eq!([36_500, 45_000, 65_000].map(&mut due), [None, Some(Due::Ping), None]);
        assert_eq!(due(65_001), Some(Due::Silent));
        // The process was suspended until then: silence counts from there, and silent clients are closed later.
        assert_eq!(state.due(80_000, START, 80_000, 35_000, || 25_000), Some(Due::Ping));
        assert_eq!(state.due(115_000, START, 80_000, 35_000, || 25_000), Some(Due::Ping));
        assert_eq!(state.due(115_001, START, 80_000, 35_000, || 25_000), Some(Due::Silent));
        assert_eq!(state.due(65_002, expires_at, 0, 35_000, || 25_000), Some(Due::Expired));
    }
}
