//! The operator's access to the server's own database, used by the command line. Commands run beside a server, so nothing here
//! takes the lock of the data directory.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::PageRequest;
use chatsphere_core::{AppContext, Caller, CommitSink, Committed, Error, Signal, SignalSink, SystemClock, UserRef, ops};
use tokio::time::timeout;

use crate::auth::Keys;
use crate::bootstrap::{FirstToken, check_supported, make_first_token, open_chat, some_admin};
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::secrets::Secrets;
use crate::start_error::StartError;

/// Timeout for pending reads when the database is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// An operator's access to the database.
pub struct Operator {
    /// The context of ops.
    pub chat: Arc<AppContext>,
    /// Signs tokens.
    pub keys: Keys,
    directory: Option<DataDir>,
    is_cluster: bool,
}

/// A sink that ignores commits: servers on the database follow its control log.
struct NobodyListens;

impl CommitSink for NobodyListens {
    fn committed(&self, _: Committed) {}
}

impl SignalSink for NobodyListens {
    fn signal(&self, _: Signal) {}
}

impl Operator {
    /// Opens the database. A first token is written to `directory`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: &Settings, directory: Option<DataDir>, secrets: &Secrets) -> Result<Self, StartError> {
        check_supported(settings)?;
        let chat = open_chat(settings, secrets, Arc::new(NobodyListens), Arc::new(SystemClock)).await?;
        Ok(Self { chat, keys: secrets.keys(), directory, is_cluster: settings.is_cluster() })
    }

    /// The user on whose behalf the command acts: `admin`, another ADMIN, or, if none is left, any user, so that an ADMIN can
    /// be created again. `None` in an empty database.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn caller(&self) -> Result<Option<Caller>, Error> {
        let user = match some_admin(&self.chat).await? {
            Some(admin) => Some(admin),
            None => self.chat.store.users(PageRequest { cursor: None, limit: 1 }).await?.items.pop(),
        };
        Ok(user.map(|user| Caller::operator(UserRef::from(&user), self.chat.clock.now())))
    }

    /// The same for a command that creates something: an empty database is first initialised as on a server's first start.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn caller_or_first(&self) -> Result<(Caller, Option<FirstToken>), StartError> {
        if let Some(caller) = self.caller().await? {
            return Ok((caller, None));
        }
        let first = match &self.directory {
            Some(directory) if !self.is_cluster => make_first_token(&self.chat, &self.keys, directory).await?,
            // Nodes of a cluster create no first token, so this one is not signed.
            _ => {
                ops::bootstrap(&self.chat).await?;
                None
            }
        };
        let caller = self.caller().await?.ok_or(Error::Internal)?;
        Ok((caller, first))
    }

    /// Closes the database after all writes.
    pub async fn close(self) {
        self.chat.store.close().await;
        // SQLite checkpoints its log with the last connection, unless a server has others.
        let _ = timeout(CLOSING, self.chat.store.closed()).await;
    }
}
