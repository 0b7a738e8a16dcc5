use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

use super::Secret;

/// The key of hashes of contents. Without it, short contents could be guessed from their hashes in the database.
pub struct ContentKey(Key);

impl ContentKey {
    /// Makes the key of a secret.
    pub fn new(secret: &Secret) -> Self {
        Self(Key::new(HMAC_SHA256, secret.as_bytes()))
    }

    /// The HMAC-SHA-256 of a body, for comparing it with that of a later call.
    pub fn of_body(&self, body: &[u8]) -> [u8; 32] {
        let mut context = Context::with_key(&self.0);
        // The label keeps hashes for other purposes apart.
        context.update(b"chatsphere idempotency body v1\0");
        context.update(body);
        context.sign().as_ref().try_into().unwrap_or_default()
    }
}
