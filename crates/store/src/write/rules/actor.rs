//! The actor of a write, by the rows within the transaction.

use std::sync::Arc;

use chatsphere_core::{Actor, Caller, Timestamp, TokenRefusal};

use crate::write::database::Tokens;
use crate::write::failure::{Stop, refuse};

/// Returns the caller on whose behalf a write is executed, for [`policy`](chatsphere_core::policy); `None` for the operator,
/// who may do everything. A rule calls this first, so that a caller without the right to write learns nothing, and gets no
/// replay.
pub(super) async fn caller(database: &mut impl Tokens, actor: Actor, at: Timestamp) -> Result<Option<Arc<Caller>>, Stop> {
    let Actor::Token(token) = actor else { return Ok(None) };
    match database.token_state(token).await? {
        Some(state) => Ok(Some(Arc::clone(state.judge(at)?))),
        None => refuse(TokenRefusal::Invalid),
    }
}
