//! The actor of a write, by the rows within the transaction.

use std::sync::Arc;

use chatsphere_core::{Actor, Caller, Timestamp, TokenRefusal, policy};

use crate::write::database::{Tokens, Users};
use crate::write::failure::{Stop, refuse};

/// Returns the caller on whose behalf a write is executed, for [`policy`](chatsphere_core::policy); `None` for the operator,
/// who may do everything. A rule calls this first, so that a caller without the right to write learns nothing, and gets no
/// replay.
pub(super) async fn caller<D: Tokens + Users>(
    database: &mut D,
    actor: Actor,
    at: Timestamp,
) -> Result<Option<Arc<Caller>>, Stop> {
    let Some(token) = actor.token() else { return Ok(None) };
    let Some(state) = database.token_state(token).await? else { return refuse(TokenRefusal::Invalid) };
    let caller = state.judge(at)?;
    let Some(user) = actor.user() else { return Ok(Some(Arc::clone(caller))) };
    let user = database.find_user(user).await?;
    Ok(Some(Arc::new(policy::acting_caller(caller, user.as_ref().map(|user| &user.value))?)))
}
