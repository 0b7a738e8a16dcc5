//! The row of the installation: its epoch and the fingerprints of its keys.

use chatsphere_core::Epoch;
use tokio_postgres::{Error, Transaction};

use super::failure::Cause;
use crate::error::OpenError;
use crate::fingerprints::{Fingerprint, KeyCheck, KeyFingerprints, StoredKeys};

/// Finds the installation's row, or creates it in a new database, and compares its fingerprints with this node's keys. Called
/// within a transaction that holds the start-up lock.
pub(super) async fn join(url: &str, transaction: &Transaction<'_>, keys: &KeyFingerprints) -> Result<Epoch, OpenError> {
    let failed = |error: Error| Cause::from(error).open_error(url);
    let Some((epoch, stored)) = find(transaction).await.map_err(failed)? else {
        let (epoch, keys) = (Epoch::random(), keys.current());
        let sql = "INSERT INTO installation (one, epoch, user_key, client_key, content_key) VALUES (1, $1, $2, $3, $4)";
        let content = keys.content.as_ref().map(Fingerprint::as_str);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&epoch.as_str(), &keys.user.as_str(), &keys.client.as_str(), &content];
        transaction.execute(sql, &values).await.map_err(failed)?;
        return Ok(epoch);
    };
    match keys.check(&stored) {
        KeyCheck::Same => Ok(epoch),
        KeyCheck::Rotated(keys) => {
            let sql = "UPDATE installation SET user_key = $1, client_key = $2, content_key = $3";
            let content = keys.content.as_ref().map(Fingerprint::as_str);
            transaction.execute(sql, &[&keys.user.as_str(), &keys.client.as_str(), &content]).await.map_err(failed)?;
            Ok(epoch)
        }
        KeyCheck::Other(which) => Err(OpenError::OtherSecrets { which }),
    }
}

/// Finds the installation's row. The tables may be those of an earlier version, without the column of the last key.
pub(super) async fn find(transaction: &Transaction<'_>) -> Result<Option<(Epoch, StoredKeys)>, Error> {
    let sql = "SELECT epoch, user_key, client_key, to_jsonb(installation) ->> 'content_key' FROM installation";
    let row = transaction.query_opt(sql, &[]).await?;
    row.map(|row| {
        let keys = StoredKeys {
            user: Fingerprint::new(row.try_get::<_, String>(1)?),
            client: Fingerprint::new(row.try_get::<_, String>(2)?),
            content: row.try_get::<_, Option<String>>(3)?.map(Fingerprint::new),
        };
        Ok((Epoch::from_stored(row.try_get(0)?), keys))
    })
    .transpose()
}
