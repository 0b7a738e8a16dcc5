//! Which names users may have.

use chatsphere_core::{Conflict, NameKeys, Timestamp, Username};

use crate::write::database::{Claim, Lookalikes, Users};
use crate::write::failure::{Failure, Stop, refuse};

/// The number of rows whose keys are computed at a time.
const KEYED_AT_ONCE: usize = 1_000;

/// A user's name to check.
pub(super) struct Named<'a> {
    /// The user's key, if the user exists.
    pub(super) pk: Option<i64>,
    pub(super) name: &'a Username,
    /// Whether the name is new. Otherwise the user has it already, and only its look is checked.
    pub(super) set: bool,
    /// Whether the user gets rights over others, so that no other user's name may look like it.
    pub(super) guarded: bool,
    pub(super) now: Timestamp,
}

/// Rejects a name that another user has, that looks like the name of a user with rights over others, or, if this user gets such
/// rights, that looks like any user's. Other writers with the same name or look wait until the transaction ends.
pub(super) async fn check<D: Users>(database: &mut D, named: &Named<'_>) -> Result<(), Stop> {
    let keys = NameKeys::of(named.name.as_str());
    database.claim(&[Claim::NameKey(&keys.key), Claim::NameLook(&keys.look)]).await?;
    key_all(database).await?;
    if named.set && database.is_name_taken(&keys, named.pk).await? {
        return refuse(Conflict::UsernameTaken);
    }
    let wanted = Lookalikes { except: named.pk, ordinary: named.guarded, now: named.now };
    if database.has_lookalike(&keys, &wanted).await? {
        // The error for a new name does not reveal which names are protected.
        return refuse(if named.set { Conflict::UsernameTaken } else { Conflict::UsernameLookalike });
    }
    Ok(())
}

/// Rows without keys were inserted by an older program, which still runs on the database, after this one started.
async fn key_all<D: Users>(database: &mut D) -> Result<(), Failure> {
    while database.key_names(KEYED_AT_ONCE).await? > 0 {}
    Ok(())
}
