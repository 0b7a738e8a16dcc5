//! Authenticates callers by their tokens.

mod content_key;
mod cursor;
mod keys;
mod token_cache;

use std::sync::Arc;

use chatsphere_core::{AppContext, Caller, Error, TokenRefusal, TokenType};

pub use content_key::ContentKey;
pub(crate) use cursor::{Cursors, List};
pub use keys::{Keys, Secret, WeakSecret};

/// Verifies a token's signature, then asks the authority for its current caller.
///
/// # Errors
/// [`Error::Token`], [`Error::Unavailable`].
pub async fn authenticate(chat: &AppContext, keys: &Keys, token: &str) -> Result<Arc<Caller>, Error> {
    let verified = keys.verify(token)?;
    let caller = chat.authority.caller(&*chat.store, verified.token_id).await?;
    if caller.token_type != verified.token_type {
        return Err(TokenRefusal::Invalid.into());
    }
    Ok(caller)
}

/// The facts that a token's signature proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The `jti` claim.
    pub token_id: chatsphere_core::TokenId,
    /// The type whose secret signed it.
    pub token_type: TokenType,
}
