use std::sync::Arc;
use std::time::Instant;

use chatsphere_client::bodies::PostMessage;
use chatsphere_client::{MessageId, OutgoingMessage, RoomId, Seq};
use rand::Rng;
use rand::rngs::StdRng;

use super::stage::Stage;
use crate::error::RunError;
use crate::latency::Latencies;
use crate::setup::patiently;

/// A message that the server has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) room: RoomId,
    pub(super) id: MessageId,
    pub(super) seq: Seq,
    pub(super) client_message_id: String,
    pub(super) content: String,
}

/// Sends one message after another.
pub(super) struct Sender {
    random: StdRng,
    number: usize,
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) latencies: Latencies,
    pub(super) violations: Vec<String>,
}

impl Sender {
    pub(super) fn new(random: StdRng, number: usize) -> Result<Self, RunError> {
        let latencies = Latencies::new()?;
        Ok(Self { random, number, acknowledged: Vec::new(), latencies, violations: Vec::new() })
    }

    /// Sends this many messages.
    pub(super) async fn run(mut self, stage: Arc<Stage>, count: usize) -> Result<Self, RunError> {
        for message in 0..count {
            let Some((socket, room)) = stage.pick(&mut self.random) else {
                return Err(RunError::Usage("no socket's user is in a room: take more users or sockets".to_owned()));
            };
            let client_message_id = format!("{}-{message}", self.number);
            let content = format!("{client_message_id} {}", "x".repeat(self.random.random_range(0..300)));
            let outgoing = OutgoingMessage::new(content.clone()).client_message_id(client_message_id.clone());
            let over_rest = self.random.random_bool(0.1);
            let began = Instant::now();
            let (id, seq) = if over_rest {
                let body =
                    PostMessage { content: content.clone(), client_message_id: Some(client_message_id.clone()), user_id: None };
                let posted = patiently("posting a message", || socket.rest.post_message(room, &body)).await?;
                (posted.id, posted.seq)
            } else {
                let sent = socket.connection.send(room, outgoing.clone()).await;
                let ack = sent.map_err(|source| RunError::Request { what: "sending a message", source })?;
                (ack.id, ack.seq)
            };
            self.latencies.record(began.elapsed());
            stage.progressed(&mut self.random);
            // A repeated message must get the stored one as its answer.
            if self.random.random_bool(0.05) {
                let sent = socket.connection.send(room, outgoing).await;
                let again = sent.map_err(|source| RunError::Request { what: "sending a message again", source })?;
                if (again.id, again.seq) != (id, seq) {
                    self.violations.push(format!(
                        "message {client_message_id} of room {room} sent twice is {id} at {seq} and {} at {}",
                        again.id, again.seq
                    ));
                }
            }
            self.acknowledged.push(Acknowledged { room, id, seq, client_message_id, content });
        }
        Ok(self)
    }
}
