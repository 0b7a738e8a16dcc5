//! Inspects a SQLite file without changing it.

use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use super::connection;
use super::failure::open_error;
use super::installation;
use super::migrations;
use super::start::blocking;
use crate::error::OpenError;
use crate::fingerprints::KeyFingerprints;
use crate::inspect::{Inspection, compare};

pub(crate) async fn inspect(path: PathBuf, url: String, keys: Option<KeyFingerprints>) -> Result<Inspection, OpenError> {
    blocking(url.clone(), move || inspect_file(&path, &url, keys.as_ref())).await
}

fn inspect_file(path: &Path, url: &str, keys: Option<&KeyFingerprints>) -> Result<Inspection, OpenError> {
    let failed = |error: rusqlite::Error| open_error(url, &error);
    let (mut version, newest, mut stored) = (0, migrations::newest_version(), None);
    // Opening an absent file would create it.
    if path.exists() {
        let connection = connection::open_guarded(path, OpenFlags::empty()).map_err(failed)?;
        connection.pragma_update(None, "query_only", true).map_err(failed)?;
        version = migrations::found_version(url, &connection)?;
        if version > 0 {
            stored = installation::find(&connection).map_err(failed)?.map(|(_, keys)| keys);
        }
    }
    compare(stored.as_ref(), keys)?;
    Ok(Inspection { version, newest, knows_keys: stored.is_some(), now: None })
}
