//! Database access common to the commands on tokens and users.

use std::future::Future;

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{Error, User};

use super::error::CliError;
use crate::admin::Operator;
use crate::config::{DatabaseFlags, Settings};
use crate::data_dir::DataDir;
use crate::installation;
use crate::log;
use crate::secrets::Secrets;
use crate::start_error::StartError;

const PAGE: usize = 200;

/// Opens an existing database: a mistyped directory must not become an installation.
pub(crate) async fn open(flags: DatabaseFlags) -> Result<Operator, CliError> {
    let settings: Settings = flags.load()?.settings;
    log::start(&settings);
    installation::require(&settings)?;
    let url = settings.database();
    let found = chatsphere_store::inspect(&url, None).await.map_err(|error| StartError::database(error, None, &settings))?;
    // Nodes of a cluster create no first token, so a command may run before all of them.
    if !found.knows_keys && !settings.is_cluster() {
        return Err(CliError::NoDatabase(url.to_string()));
    }
    let directory = DataDir::at(&settings.data_dir);
    let secrets = match &directory {
        Some(directory) => Secrets::find(&settings, directory),
        None => Secrets::given(&settings),
    };
    let secrets =
        secrets.map_err(StartError::from)?.ok_or_else(|| CliError::NoSecrets(settings.data_dir.display().to_string()))?;
    Ok(Operator::open(&settings, directory, &secrets).await?)
}

/// The user with this name or id.
pub(crate) async fn user_named(operator: &Operator, name: &str) -> Result<User, CliError> {
    if let Some(user) = operator.chat.store.user_by_name(name).await? {
        return Ok(user);
    }
    if let Ok(id) = name.parse()
        && let Some(user) = operator.chat.store.user(id).await?
    {
        return Ok(user);
    }
    Err(CliError::NoSuchUser(name.to_owned()))
}

/// Reads all pages of a list.
pub(crate) async fn every_page<T, F>(read: impl Fn(PageRequest) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = read(PageRequest { cursor, limit: PAGE }).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}
