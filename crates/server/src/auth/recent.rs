//! Tokens whose signatures were verified lately.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Verified;

/// How many are kept: some megabytes at most, since a token has a few hundred bytes.
const MOST: usize = 4_096;
/// Longer tokens are verified each time.
const LONGEST: usize = 1_024;

/// Spares verifying the same token with each request. A signature proves the same as long as the keys stay, and they do until
/// the program ends; whether the token is still good is asked of the authority each time.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Box<str>, Verified>>);

impl Recent {
    pub(super) fn get(&self, token: &str) -> Option<Verified> {
        self.known().get(token).copied()
    }

    /// To be called with what was verified alone: nobody else can fill the memory.
    pub(super) fn keep(&self, token: &str, verified: Verified) {
        if token.len() > LONGEST {
            return;
        }
        let mut known = self.known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(token.into(), verified);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Verified>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
