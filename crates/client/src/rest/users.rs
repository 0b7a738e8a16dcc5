use chatsphere_protocol::rest::{ChangeUser, CreateUser, CreatedUser, ExternalUser, PutExternalUser, User};
use chatsphere_types::UserId;
use reqwest::Method;

use super::Page;
use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Creates a user and its first token. For CLIENT tokens.
    ///
    /// # Errors
    /// `client_token_required`, `needs_write`, `needs_unrestricted_token`, `more_rights_than_own`, `username_taken`, and those
    /// of any call.
    pub async fn create_user(&self, user: &CreateUser) -> Result<CreatedUser, Error> {
        self.call(Method::POST, "/api/users", Some(user)).await
    }

    /// All users. For CLIENT tokens.
    ///
    /// # Errors
    /// `client_token_required`, `needs_read`, `needs_unrestricted_token`, and those of any call.
    pub async fn users(&self, limit: Option<u32>) -> Result<Page<User<'static>>, Error> {
        self.page("/api/users", limit).await
    }

    /// A user. For CLIENT tokens, ADMINs, and the user itself.
    ///
    /// # Errors
    /// `client_token_required`, `needs_read`, `needs_unrestricted_token`, `user_not_found`, and those of any call.
    pub async fn user(&self, user: UserId) -> Result<User<'static>, Error> {
        self.get(&format!("/api/users/{user}")).await
    }

    /// The user with exactly this name. For CLIENT tokens and ADMINs.
    ///
    /// # Errors
    /// `client_token_required`, `needs_read`, `needs_unrestricted_token`, and those of any call.
    pub async fn user_by_name(&self, username: &str) -> Result<Option<User<'static>>, Error> {
        let mut address = self.address("/api/users")?;
        address.query_pairs_mut().append_pair("username", username);
        Ok(self.get_at::<Vec<User<'static>>>(address).await?.pop())
    }

    /// Creates a user, or finds and changes it, by the application's own id of 1 to 128 bytes. For CLIENT tokens and ADMINs;
    /// only CLIENT tokens can get a token for an existing user.
    ///
    /// # Errors
    /// `client_token_required`, `needs_write`, `needs_unrestricted_token`, `username_taken`, `username_lookalike`, and those of
    /// any call.
    pub async fn put_external_user(&self, external_id: &str, user: &PutExternalUser) -> Result<ExternalUser, Error> {
        let mut address = self.address("/api/users/external")?;
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.push(external_id);
        }
        self.call_at(Method::PUT, address, Some(user)).await
    }

    /// Renames a user, changes its role, disables it or enables it again. For CLIENT tokens and ADMINs.
    ///
    /// # Errors
    /// `client_token_required`, `needs_write`, `needs_unrestricted_token`, `behind_client_token`, `user_not_found`,
    /// `username_taken`, `username_lookalike`, and those of any call.
    pub async fn change_user(&self, user: UserId, change: &ChangeUser) -> Result<User<'static>, Error> {
        self.call(Method::PATCH, &format!("/api/users/{user}"), Some(change)).await
    }
}
