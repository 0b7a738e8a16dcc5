//! What the commands on tokens and users have in common.

use std::future::Future;

use chatsphere_core::store::{Page, PageRequest};
use chatsphere_core::{Error, User};

use super::error::CliError;
use crate::config::{DatabaseFlags, Settings};
use crate::log;
use crate::operator::Operator;

const PAGE: usize = 200;

/// The database, made if it is not there: for commands that make something.
pub(crate) async fn open_or_make(flags: DatabaseFlags) -> Result<Operator, CliError> {
    let settings = flags.load()?.settings;
    log::start(&settings);
    Ok(Operator::open(&settings).await?)
}

/// The database as it is: a mistyped directory is not to become an empty database.
pub(crate) async fn open(flags: DatabaseFlags) -> Result<Operator, CliError> {
    let settings: Settings = flags.load()?.settings;
    log::start(&settings);
    let url = settings.database();
    if url.sqlite_path().is_some_and(|path| !path.exists()) {
        return Err(CliError::NoDatabase(url.to_string()));
    }
    Ok(Operator::open(&settings).await?)
}

/// The user of this name, or of this id.
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

/// All pages of a list, one after the other.
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
