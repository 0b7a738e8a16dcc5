//! Who may have which name.

use chatsphere_core::{Conflict, NameKeys, Timestamp, Username};

use crate::write::database::{Claim, Lookalikes, Users};
use crate::write::failure::{Failure, Stop, refuse};

/// Rows that get their keys at a time.
const KEYED_AT_ONCE: usize = 1_000;

/// A user's name as it is to be.
pub(super) struct Named<'a> {
    /// The user's key, if it is there already.
    pub(super) pk: Option<i64>,
    pub(super) name: &'a Username,
    /// The name is set now. Otherwise it is there already, and only what it looks like is looked at.
    pub(super) set: bool,
    /// The user is to have rights over others, so nobody's name may look like its.
    pub(super) guarded: bool,
    pub(super) now: Timestamp,
}

/// Refuses a name that another user has, that looks like the name of one with rights over others, or, if this user is to have
/// such rights, like anybody's. Other writers wait with the same and similar names until the transaction ends.
pub(super) async fn check<D: Users>(database: &mut D, named: &Named<'_>) -> Result<(), Stop> {
    let keys = NameKeys::of(named.name.as_str());
    database.claim(&[Claim::NameKey(&keys.key), Claim::NameLook(&keys.look)]).await?;
    key_all(database).await?;
    if named.set && database.is_name_taken(&keys, named.pk).await? {
        return refuse(Conflict::UsernameTaken);
    }
    let wanted = Lookalikes { except: named.pk, ordinary: named.guarded, now: named.now };
    if database.has_lookalike(&keys, &wanted).await? {
        // Who chooses a name is not told which names are guarded.
        return refuse(if named.set { Conflict::UsernameTaken } else { Conflict::UsernameLookalike });
    }
    Ok(())
}

/// Rows without keys are those that an older program, still running on the database, has made since this one started.
async fn key_all<D: Users>(database: &mut D) -> Result<(), Failure> {
    while database.key_names(KEYED_AT_ONCE).await? > 0 {}
    Ok(())
}
