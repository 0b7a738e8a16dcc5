//! Tokens whose signatures were verified lately.

use std::sync::{Mutex, PoisonError};

use chatsphere_core::BoundedMap;

use super::Verified;

/// How many are kept: some megabytes at most, since a token has a few hundred bytes.
const MAX_TOKENS: usize = 4_096;
/// Longer tokens are verified each time.
const LONGEST: usize = 1_024;

/// Spares verifying the same token with each request. A signature proves the same as long as the keys stay, and they do until
/// the program ends; whether the token is still good is asked of the authority each time.
pub(super) struct Recent(Mutex<BoundedMap<Box<str>, Verified>>);

impl Default for Recent {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(MAX_TOKENS)))
    }
}

impl Recent {
    pub(super) fn get(&self, token: &str) -> Option<Verified> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied()
    }

    /// To be called with what was verified alone: nobody else can fill the memory.
    pub(super) fn keep(&self, token: &str, verified: Verified) {
        if token.len() <= LONGEST {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.into(), verified, 1);
        }
    }
}
