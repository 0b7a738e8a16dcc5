use chatsphere_protocol::rest::{Done, MintClientToken, MintUserToken, Minted, Token};
use chatsphere_types::TokenId;
use reqwest::Method;

use super::Page;
use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Mints a USER token: for any user with a CLIENT token, for the same user with a USER token.
    ///
    /// # Errors
    /// `not_yourself`, `more_rights_than_own`, `needs_write`, `user_not_found`, and those of any call.
    pub async fn mint_user_token(&self, request: &MintUserToken) -> Result<Minted, Error> {
        self.call(Method::POST, "/api/tokens/user", Some(request)).await
    }

    /// Mints a CLIENT token. For CLIENT tokens.
    ///
    /// # Errors
    /// `client_token_required`, `user_not_found`, `username_lookalike`, and those of any call.
    pub async fn mint_client_token(&self, request: &MintClientToken) -> Result<Minted, Error> {
        self.call(Method::POST, "/api/tokens/client", Some(request)).await
    }

    /// Lists tokens, without the tokens themselves. For CLIENT tokens.
    ///
    /// # Errors
    /// `client_token_required`, `needs_read`, `needs_unrestricted_token`, and those of any call.
    pub async fn tokens(&self, limit: Option<u32>) -> Result<Page<Token>, Error> {
        self.page("/api/tokens", limit).await
    }

    /// Revokes a token and those minted by it. Effective when this returns.
    ///
    /// # Errors
    /// `client_token_required`, `needs_delete`, `needs_unrestricted_token`, `token_not_found`, and those of any call.
    pub async fn revoke_token(&self, token: TokenId) -> Result<(), Error> {
        self.call::<Done<'static>>(Method::DELETE, &format!("/api/tokens/{token}"), None::<&()>).await.map(drop)
    }
}
