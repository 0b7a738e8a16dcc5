use chatsphere_core::UserId;
use chatsphere_protocol::rest::{ChangeUser, CreateUser, CreatedUser, User};
use reqwest::Method;

use super::Page;
use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Makes a user, and its first token. For CLIENT tokens.
    ///
    /// # Errors
    /// `username_taken`, `client_token_required`, and those of any call.
    pub async fn create_user(&self, user: &CreateUser) -> Result<CreatedUser, Error> {
        self.call(Method::POST, "/api/users", Some(user)).await
    }

    /// All users. For CLIENT tokens.
    ///
    /// # Errors
    /// `client_token_required`, and those of any call.
    pub async fn users(&self, limit: Option<u32>) -> Result<Page<User<'static>>, Error> {
        self.page("/api/users", limit).await
    }

    /// Changes a user's role, disables it or enables it again. For CLIENT tokens and ADMINs.
    ///
    /// # Errors
    /// `user_not_found`, `client_token_required`, and those of any call.
    pub async fn change_user(&self, user: UserId, change: &ChangeUser) -> Result<User<'static>, Error> {
        self.call(Method::PATCH, &format!("/api/users/{user}"), Some(change)).await
    }
}
