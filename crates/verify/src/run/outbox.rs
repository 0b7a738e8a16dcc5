use std::time::Duration;

use tokio::time::Instant;

use super::steps::Outgoing;

/// The delay if the server asks for a pause without naming one.
const PAUSE: Duration = Duration::from_millis(50);

/// The unanswered messages of one client, in the order of sending.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: Outgoing,
    /// When to send it again, if the server asked for a pause.
    again: Option<Instant>,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn add(&mut self, message: Outgoing) {
        if !self.waiting.iter().any(|waiting| waiting.message == message) {
            self.waiting.push(Waiting { message, again: None });
        }
    }

    /// Removes a message that got a final answer.
    pub(crate) fn take(&mut self, room: usize, key: &str) -> Option<Outgoing> {
        let place = self.place(room, key)?;
        Some(self.waiting.remove(place).message)
    }

    /// Postpones a message because the server asked for a pause.
    pub(crate) fn put_off(&mut self, room: usize, key: &str, wait: Option<Duration>) {
        if let Some(waiting) = self.place(room, key).and_then(|place| self.waiting.get_mut(place)) {
            waiting.again = Some(Instant::now() + wait.unwrap_or(PAUSE).max(PAUSE));
        }
    }

    /// When the next message must be sent again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.again).min()
    }

    /// The messages to send again now.
    pub(crate) fn due(&mut self) -> Vec<Outgoing> {
        let now = Instant::now();
        let due = self.waiting.iter_mut().filter(|waiting| waiting.again.is_some_and(|again| again <= now));
        due.map(|waiting| {
            waiting.again = None;
            waiting.message.clone()
        })
        .collect()
    }

    /// All messages: a new connection sends everything again.
    pub(crate) fn all(&mut self) -> Vec<Outgoing> {
        self.waiting
            .iter_mut()
            .map(|waiting| {
                waiting.again = None;
                waiting.message.clone()
            })
            .collect()
    }

    fn place(&self, room: usize, key: &str) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.message.room == room && waiting.message.key == key)
    }
}
