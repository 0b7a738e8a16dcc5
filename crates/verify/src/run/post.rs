use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chatsphere_client::bodies::{EditMessage, PostMessage};
use chatsphere_client::{Client, MessageId, RoomId};
use tokio::time::sleep;

use super::recorder::Recorder;
use super::steps::Outgoing;
use crate::judge::record::{Over, State, Text, What};

const PAUSE: Duration = Duration::from_millis(100);

/// Counts the posts in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Posting(Arc<AtomicUsize>);

impl Posting {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Posts a message over REST, and repeats the call until its outcome is known.
    pub(crate) fn post(&self, client: Client, recorder: Arc<Recorder>, device: usize, room: RoomId, message: Outgoing) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let counting = self.0.clone();
        tokio::spawn(async move {
            post(&client, &recorder, device, room, message).await;
            counting.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Edits a message over REST, again and again until it is known what became of it.
    pub(crate) fn edit(
        &self,
        client: Client,
        recorder: Arc<Recorder>,
        device: usize,
        room: (usize, RoomId),
        message: MessageId,
        text: String,
    ) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let counting = self.0.clone();
        tokio::spawn(async move {
            edit(&client, &recorder, device, room, message, text).await;
            counting.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn edit(
    client: &Client,
    recorder: &Recorder,
    device: usize,
    (room, id): (usize, RoomId),
    message: MessageId,
    text: String,
) {
    recorder.saw(device, 0, What::EditSent { room, id: message, text: Text::of(&text) });
    let edit = EditMessage { content: Some(text), if_version: None };
    loop {
        match client.edit_message(id, message, &edit).await {
            Ok(edited) => {
                recorder.saw(device, 0, What::Edited { room, id: message, state: State::of(&edited) });
                return;
            }
            Err(error) => match error.refusal() {
                Some(refusal) if !matches!(refusal.status, 408 | 429 | 500..) => {
                    recorder.saw(device, 0, What::EditRefused { room, code: refusal.code.clone() });
                    return;
                }
                refusal => sleep(refusal.and_then(|refusal| refusal.retry_after).unwrap_or(PAUSE).min(PAUSE * 10)).await,
            },
        }
    }
}

async fn post(client: &Client, recorder: &Recorder, device: usize, id: RoomId, message: Outgoing) {
    let Outgoing { room, key, text } = message;
    let body = PostMessage { content: text.clone(), client_message_id: Some(key.clone()), user_id: None };
    loop {
        let sent = What::Sent { over: Over::Rest, room, key: key.clone(), text: Text::of(&text) };
        recorder.saw(device, 0, sent);
        match client.post_message(id, &body).await {
            Ok(posted) => {
                let acked = What::Acked { room, key, id: posted.id, seq: posted.seq.get() };
                recorder.saw(device, 0, acked);
                return;
            }
            Err(error) => match error.refusal() {
                Some(refusal) if !matches!(refusal.status, 408 | 429 | 500..) => {
                    recorder.saw(device, 0, What::Refused { room, key, code: refusal.code.clone() });
                    return;
                }
                refusal => sleep(refusal.and_then(|refusal| refusal.retry_after).unwrap_or(PAUSE).min(PAUSE * 10)).await,
            },
        }
    }
}
