//! A cache of recently verified tokens.

use std::sync::{Mutex, PoisonError};

use chatsphere_core::BoundedMap;

use super::Verified;

/// Maximum number of cached tokens: a few megabytes, because a token has a few hundred bytes.
const MAX_TOKENS: usize = 4_096;
/// Longer tokens are not cached.
const LONGEST: usize = 1_024;

/// Avoids verifying the same signature with each request. A signature stays valid as long as the keys, which do not change
/// while the program runs; whether the token is still valid is checked by the authority each time.
pub(super) struct TokenCache(Mutex<BoundedMap<Box<str>, Verified>>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(MAX_TOKENS)))
    }
}

impl TokenCache {
    pub(super) fn get(&self, token: &str) -> Option<Verified> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied()
    }

    /// Caches a token. Pass only verified tokens, so that nobody else can fill the memory.
    pub(super) fn keep(&self, token: &str, verified: Verified) {
        if token.len() <= LONGEST {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.into(), verified, 1);
        }
    }
}
