use chatsphere_protocol::rest::Health;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// The server's health. Needs no rights.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn health(&self) -> Result<Health<'static>, Error> {
        self.get("/api/health").await
    }
}
