//! The row of the installation: its epoch and the fingerprints of its keys.

use chatsphere_core::Epoch;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::failure::open_error;
use crate::error::OpenError;
use crate::fingerprints::{Fingerprint, KeyCheck, KeyFingerprints, StoredKeys};

/// Finds the installation's row, or creates it in a new database, and compares its fingerprints with this node's keys.
pub(super) fn join(url: &str, connection: &mut Connection, keys: &KeyFingerprints) -> Result<Epoch, OpenError> {
    let failed = |error: rusqlite::Error| open_error(url, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = find(&transaction).map_err(failed)?;
    let epoch = match found {
        None => {
            let (epoch, keys) = (Epoch::random(), keys.current());
            let sql = "INSERT INTO installation (one, epoch, user_key, client_key, content_key) VALUES (1, ?1, ?2, ?3, ?4)";
            let (user, client, content) = texts(&keys);
            transaction.execute(sql, (epoch.as_str(), user, client, content)).map_err(failed)?;
            epoch
        }
        Some((epoch, stored)) => {
            match keys.check(&stored) {
                KeyCheck::Same => {}
                KeyCheck::Rotated(keys) => {
                    let sql = "UPDATE installation SET user_key = ?1, client_key = ?2, content_key = ?3";
                    transaction.execute(sql, texts(&keys)).map_err(failed)?;
                }
                KeyCheck::Other(which) => return Err(OpenError::OtherSecrets { which }),
            }
            epoch
        }
    };
    transaction.commit().map_err(failed)?;
    Ok(epoch)
}

fn texts(keys: &StoredKeys) -> (&str, &str, Option<&str>) {
    (keys.user.as_str(), keys.client.as_str(), keys.content.as_ref().map(Fingerprint::as_str))
}

/// Finds the installation's row. The tables may be those of an earlier version, without the column of the last key.
pub(super) fn find(connection: &Connection) -> rusqlite::Result<Option<(Epoch, StoredKeys)>> {
    let row = |row: &rusqlite::Row<'_>| {
        let content = match row.as_ref().column_index("content_key") {
            Ok(column) => row.get::<_, Option<String>>(column)?.map(Fingerprint::new),
            Err(_) => None,
        };
        let keys = StoredKeys {
            user: Fingerprint::new(row.get::<_, String>("user_key")?),
            client: Fingerprint::new(row.get::<_, String>("client_key")?),
            content,
        };
        Ok((Epoch::from_stored(row.get_ref("epoch")?.as_str()?), keys))
    };
    connection.query_row("SELECT * FROM installation", [], row).optional()
}
