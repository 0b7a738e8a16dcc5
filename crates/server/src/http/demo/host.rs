use std::path::PathBuf;

use chatsphere_core::{AppContext, Caller, Conflict, Error, UserId, ops};

use crate::data_dir::DataDir;
use crate::own_file;

/// The name of the user that owns the demo's rooms, unless it is taken.
const NAME: &str = "demo-host";

/// The user that owns the demo's rooms.
///
/// It is identified only by its id, which is kept in memory or in a private file. A user with the same name is not the demo's,
/// and its rooms are closed to guests.
#[derive(Default)]
pub(super) struct Host {
    id: Option<UserId>,
    directory: Option<DataDir>,
}

impl Host {
    /// The host of an earlier run on this data directory.
    pub(super) fn stored_in(directory: DataDir) -> Self {
        let text = own_file::read(&file(&directory)).ok();
        Self { id: text.and_then(|text| text.trim().parse().ok()), directory: Some(directory) }
    }

    /// The host user, created if it does not exist.
    pub(super) async fn get(&mut self, chat: &AppContext, operator: &Caller) -> Result<UserId, Error> {
        if let Some(id) = self.id
            // The data directory may have outlived its database.
            && chat.store.user(id).await?.is_some()
        {
            return Ok(id);
        }
        let id = make(chat, operator).await?;
        self.id = Some(id);
        if let Some(directory) = &self.directory
            && let Err(error) = directory.write_private(&file(directory), &format!("{id}\n"))
        {
            tracing::warn!(%error, "after a restart the demo's guests will meet in new rooms");
        }
        Ok(id)
    }
}

fn file(directory: &DataDir) -> PathBuf {
    directory.path().join(NAME)
}

async fn make(chat: &AppContext, operator: &Caller) -> Result<UserId, Error> {
    let user = |username| ops::CreateUser { username, role: None, idempotency: None };
    let made = match ops::create_user(chat, operator, user(NAME.to_owned())).await {
        Err(Error::Conflict(Conflict::UsernameTaken)) => {
            ops::create_user(chat, operator, user(format!("{NAME}-{:08x}", rand::random::<u32>()))).await?
        }
        made => made?,
    };
    // Nobody may act as this user.
    ops::revoke_token(chat, operator, made.value.token.id).await?;
    Ok(made.value.user.id)
}
