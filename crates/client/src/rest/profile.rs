use chatsphere_protocol::rest::{ChangeProfile, Profile, ProfileChanged};
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// The token's user.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn profile(&self) -> Result<Profile<'static>, Error> {
        Ok(self.get::<ProfileChanged<'static>>("/api/auth/profile").await?.user)
    }

    /// Renames the token's user.
    ///
    /// # Errors
    /// `needs_write`, `username_taken`, and those of any call.
    pub async fn rename(&self, username: impl Into<String>) -> Result<Profile<'static>, Error> {
        let body = ChangeProfile { username: username.into() };
        Ok(self.call::<ProfileChanged<'static>>(Method::PUT, "/api/auth/profile", Some(&body)).await?.user)
    }
}
