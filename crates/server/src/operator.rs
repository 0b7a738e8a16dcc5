//! Whoever can run the command line on the server's own database: what its commands work with. They run beside a server, so
//! nothing here takes the data directory's lock.

use std::sync::Arc;

use chatsphere_core::store::PageRequest;
use chatsphere_core::{Caller, Chat, CommitSink, Committed, Error, SystemClock, UserRef, ops};

use crate::assemble::{FirstToken, check_supported, make_first_token, open_chat, some_admin};
use crate::auth::Keys;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::secrets::Secrets;
use crate::start_error::StartError;

/// An operator's access to the database.
pub struct Operator {
    /// What ops need.
    pub chat: Arc<Chat>,
    /// Signs tokens.
    pub keys: Keys,
    directory: DataDir,
    is_cluster: bool,
}

/// Servers on the database follow its control log; nobody listens here.
struct NobodyListens;

impl CommitSink for NobodyListens {
    fn committed(&self, _: Committed) {}
}

impl Operator {
    /// Opens the database, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: &Settings) -> Result<Self, StartError> {
        check_supported(settings)?;
        let directory = DataDir::make(&settings.data_dir)?;
        let secrets = Secrets::resolve(settings, &directory)?;
        let chat = open_chat(settings, &secrets, Arc::new(NobodyListens), Arc::new(SystemClock)).await?;
        Ok(Self { chat, keys: secrets.keys(), directory, is_cluster: settings.is_cluster() })
    }

    /// Who calls: the user `admin`, or another ADMIN, or, should there be none left, whoever there is, so that an ADMIN can be
    /// made again. None in an empty database.
    ///
    /// # Errors
    /// [`Error::Outage`].
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
        let first = if self.is_cluster {
            // Its nodes make none by themselves, so this one is nobody's: it is never signed.
            ops::bootstrap(&self.chat).await?;
            None
        } else {
            make_first_token(&self.chat, &self.keys, &self.directory).await?
        };
        let caller = self.caller().await?.ok_or(Error::Internal)?;
        Ok((caller, first))
    }

    /// Lets go of the database once all is written.
    pub async fn close(self) {
        self.chat.store.close().await;
    }
}
