//! Inspects a PostgreSQL database without changing it.

use chatsphere_core::Timestamp;

use super::connect::Connector;
use super::failure::Cause;
use super::installation;
use super::migrations;
use crate::error::OpenError;
use crate::fingerprints::KeyFingerprints;
use crate::inspect::{Inspection, compare};
use crate::url::PostgresUrl;

pub(crate) async fn inspect(
    location: &PostgresUrl,
    url: &str,
    keys: Option<&KeyFingerprints>,
) -> Result<Inspection, OpenError> {
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let mut client = Connector::new(location)?.for_migrating().await.map_err(|cause| cause.open_error(url))?;
    let transaction = client.build_transaction().read_only(true).start().await.map_err(failed)?;
    let version = migrations::found_version(url, &transaction).await?;
    let stored = match version {
        0 => None,
        _ => installation::find(&transaction).await.map_err(failed)?.map(|(_, keys)| keys),
    };
    compare(stored.as_ref(), keys)?;
    let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let row = transaction.query_one(clock, &[]).await.map_err(failed)?;
    let now = Timestamp::from_millis(row.try_get(0).map_err(failed)?);
    Ok(Inspection { version, newest: migrations::newest_version(), knows_keys: stored.is_some(), now: Some(now) })
}
