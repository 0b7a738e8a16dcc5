//! The end of a connection: shutdown, close codes, and the record in log and metrics.

use std::time::Duration;

use chatsphere_protocol::close;
use rand::Rng;

use super::closes;
use super::connection::{Connection, Ended};

impl Connection {
    /// Waits until every accepted message is acknowledged, then closes because the server stops.
    pub(super) async fn finish(&mut self) {
        if let Some(unanswered) = &self.unanswered {
            unanswered.wait_for_all().await;
        }
        let _ = self.close_for_restart();
    }

    /// Closes with a random delay for reconnecting, so that clients do not return all at once.
    pub(super) fn close_for_restart(&self) -> Result<(), Ended> {
        let delay = Duration::from_millis(rand::rng().random_range(200..=2_000));
        let reason = format!("the server is restarting: reconnect in {} ms", delay.as_millis());
        self.write_queue.close_with_retry_after(close::GOING_AWAY, &reason, delay);
        Err(Ended)
    }

    pub(super) fn close(&self, code: u16, reason: &str) -> Result<(), Ended> {
        Err(self.closed(code, reason))
    }

    pub(super) fn closed(&self, code: u16, reason: &str) -> Ended {
        self.write_queue.close(code, reason);
        Ended
    }

    /// Counts and logs the end of the connection, at level `info` if the server closed it for an error, else `debug`.
    pub(super) fn record_end(&self, code: Option<u16>) {
        let word = closes::count(code);
        let connection = self.session.as_ref().map(|session| tracing::field::display(session.subscriber.id));
        let user = self.session.as_ref().map(|session| tracing::field::display(session.subscriber.caller().user.id));
        let client = self.client.map(tracing::field::display);
        match code {
            None | Some(close::NORMAL | close::GOING_AWAY) => {
                tracing::debug!(connection, user, client, code = word, "a WebSocket was closed");
            }
            Some(_) => tracing::info!(connection, user, client, code = word, "a WebSocket was closed"),
        }
    }

    /// Removes the connection from the registry.
    pub(super) fn leave_sessions(&mut self) {
        if let Some(session) = self.session.take() {
            self.state.sessions.leave(&session);
        }
    }
}
