use std::sync::Arc;
use std::time::Duration;

use chatsphere_client::{Client, RoomId, UserId};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::recorder::Recorder;
use crate::judge::record::Change;
use chatsphere_bench::error::RunError;

const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of rejected calls per change.
const MAX_REFUSALS: usize = 100;

/// A membership change.
#[derive(Debug)]
pub(crate) struct ToChange {
    pub(crate) user: usize,
    pub(crate) id: UserId,
    pub(crate) adds: bool,
    /// The token of the user, if the user leaves by itself.
    pub(crate) itself: Option<Client>,
}

/// Changes the members of one room, one after another, each until it succeeds.
pub(crate) struct Steward {
    pub(crate) client: Client,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) room: usize,
    pub(crate) id: RoomId,
}

impl Steward {
    pub(crate) async fn run(self, mut changes: mpsc::Receiver<ToChange>) -> Result<(), RunError> {
        while let Some(change) = changes.recv().await {
            self.change(change).await?;
        }
        Ok(())
    }

    pub(crate) async fn change(&self, change: ToChange) -> Result<(), RunError> {
        let ToChange { user, id, adds, mut itself } = change;
        let began = self.recorder.tick();
        let mut refusals = 0;
        loop {
            // A user who has left may not leave again, so only the first call uses its own token.
            let by = itself.take();
            let by = by.as_ref().unwrap_or(&self.client);
            let done = if adds { by.add_member(self.id, id).await } else { by.remove_member(self.id, id).await };
            match done {
                Ok(()) => break,
                Err(source) => {
                    refusals += usize::from(source.refusal().is_some_and(|refusal| refusal.status < 500));
                    if refusals == MAX_REFUSALS {
                        return Err(RunError::Call { what: "changing a room's members", source });
                    }
                }
            }
            sleep(PAUSE).await;
        }
        let returned = self.recorder.tick();
        self.recorder.changed(Change { room: self.room, user, adds, began, returned });
        Ok(())
    }
}
