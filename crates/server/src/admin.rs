//! Whoever can run the command line on the server's own database: what its commands work with. They run beside a server, so
//! nothing here takes the data directory's lock.

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

/// How long the last reads may take.
const CLOSING: Duration = Duration::from_secs(5);

/// An operator's access to the database.
pub struct Operator {
    /// What ops need.
    pub chat: Arc<AppContext>,
    /// Signs tokens.
    pub keys: Keys,
    directory: Option<DataDir>,
    is_cluster: bool,
}

/// Servers on the database follow its control log; nobody listens here.
struct NobodyListens;

impl CommitSink for NobodyListens {
    fn committed(&self, _: Committed) {}
}

impl SignalSink for NobodyListens {
    fn signal(&self, _: Signal) {}
}

impl Operator {
    /// Opens the database. The directory is where a first token is kept.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: &Settings, directory: Option<DataDir>, secrets: &Secrets) -> Result<Self, StartError> {
        check_supported(settings)?;
        let chat = open_chat(settings, secrets, Arc::new(NobodyListens), Arc::new(SystemClock)).await?;
        Ok(Self { chat, keys: secrets.keys(), directory, is_cluster: settings.is_cluster() })
    }

    /// Who calls: the user `admin`, or another ADMIN, or, should there be none left, whoever there is, so that an ADMIN can be
    /// made again. None in an empty database.
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

    /// The same for a command that makes something: in an empty database it first does what a server's first start does.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn caller_or_first(&self) -> Result<(Caller, Option<FirstToken>), StartError> {
        if let Some(caller) = self.caller().await? {
            return Ok((caller, None));
        }
        let first = match &self.directory {
            Some(directory) if !self.is_cluster => make_first_token(&self.chat, &self.keys, directory).await?,
            // The nodes of a cluster make none by themselves, so this one is nobody's: it is never signed.
            _ => {
                ops::bootstrap(&self.chat).await?;
                None
            }
        };
        let caller = self.caller().await?.ok_or(Error::Internal)?;
        Ok((caller, first))
    }

    /// Lets go of the database once all is written.
    pub async fn close(self) {
        self.chat.store.close().await;
        // SQLite ends its log with the last connection, if no server has others.
        let _ = timeout(CLOSING, self.chat.store.closed()).await;
    }
}
