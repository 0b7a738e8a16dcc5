//! Set-up common to the server and the operator's commands: the context of ops on an opened store.

use std::sync::Arc;

use chatsphere_core::store::PageRequest;
use chatsphere_core::{AppContext, Authority, Clock, CommitSink, Error, Role, SignalSink, User, ops};
use chatsphere_store::OpenOptions;

use crate::auth::Keys;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::secrets::Secrets;
use crate::start_error::StartError;

const PAGE: usize = 200;

/// Rejects unsupported settings before anything is changed.
///
/// # Errors
/// [`StartError::ClusterNeedsPostgres`].
pub(crate) fn check_supported(settings: &Settings) -> Result<(), StartError> {
    let shareable = settings.database().sqlite_path().is_none();
    if settings.is_cluster() && !shareable { Err(StartError::ClusterNeedsPostgres) } else { Ok(()) }
}

/// Opens the database and creates the context on it.
///
/// # Errors
/// [`StartError::Database`], [`StartError::Store`].
pub(crate) async fn open_chat(
    settings: &Settings,
    secrets: &Secrets,
    sink: Arc<impl CommitSink + SignalSink>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<AppContext>, StartError> {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let mut options = OpenOptions::new(settings.database(), secrets.fingerprints(), sink.clone());
    options.queue = settings.queue;
    options.min_free = settings.min_free_disk.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
    options.daily_bytes = u64::try_from(settings.user_bytes_per_day).unwrap_or(u64::MAX);
    options.readers = settings.database_readers.unwrap_or(options.readers);
    options.client_id_key = secrets.client_id_key();
    let readers = options.readers;
    let store = chatsphere_store::open(options).await.map_err(|error| StartError::database(error, Some(secrets), settings))?;
    let authority = Arc::new(Authority::new(clock.clone(), store.control_head().await?));
    let limits = settings.limits_in_force();
    let chat = AppContext::new(store, authority, clock, limits, settings.lifetimes).with_readers(readers);
    Ok(Arc::new(chat.with_signals(sink)))
}

/// The user on whose behalf the server and its operator act: `admin`, or another ADMIN.
///
/// # Errors
/// [`Error::Unavailable`].
pub(crate) async fn some_admin(chat: &AppContext) -> Result<Option<User>, Error> {
    if let Some(user) = chat.store.user_by_name(ops::FIRST_ADMIN).await?
        && user.role == Role::Admin
    {
        return Ok(Some(user));
    }
    let mut cursor = None;
    loop {
        let page = chat.store.users(PageRequest { cursor, limit: PAGE }).await?;
        let admin = page.items.into_iter().find(|user| user.role == Role::Admin);
        match (admin, page.next) {
            (None, Some(next)) => cursor = Some(next),
            (admin, _) => return Ok(admin),
        }
    }
}

/// The CLIENT token of the first start.
#[derive(Clone)]
pub struct FirstToken {
    /// The token itself.
    pub token: String,
    /// The file that holds it.
    pub file: std::path::PathBuf,
}

impl std::fmt::Debug for FirstToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FirstToken({})", self.file.display())
    }
}

/// In an empty database, creates the first ADMIN and a CLIENT token, and writes the token to the data directory.
///
/// # Errors
/// [`StartError::Store`], [`StartError::DataDir`].
pub(crate) async fn make_first_token(
    chat: &AppContext,
    keys: &Keys,
    directory: &DataDir,
) -> Result<Option<FirstToken>, StartError> {
    let token = match ops::bootstrap(chat).await {
        Ok(Some(token)) => token,
        // Another node on this database was faster.
        Ok(None) | Err(Error::Conflict(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(user) = chat.store.user(token.user_id).await? else { return Ok(None) };
    let token = keys.sign(&token, &user)?;
    let file = directory.client_token_file();
    directory.write_private(&file, &token)?;
    Ok(Some(FirstToken { token, file }))
}
