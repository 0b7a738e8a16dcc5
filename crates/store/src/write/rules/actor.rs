//! On whose behalf a write is carried out, by the rows as they are within the transaction.

use std::sync::Arc;

use chatsphere_core::{Actor, Caller, Timestamp, TokenRefusal};

use crate::write::database::Tokens;
use crate::write::failure::{Stop, refuse};

/// The caller behind a write, whom [`policy`](chatsphere_core::policy) is then asked about; `None` for the operator, who is not
/// judged. Comes before everything else in a rule: who may not write any more learns nothing, and is replayed nothing.
pub(super) async fn caller(database: &mut impl Tokens, actor: Actor, at: Timestamp) -> Result<Option<Arc<Caller>>, Stop> {
    let Actor::Token(token) = actor else { return Ok(None) };
    match database.token_state(token).await? {
        Some(state) => Ok(Some(Arc::clone(state.judge(at)?))),
        None => refuse(TokenRefusal::Invalid),
    }
}
