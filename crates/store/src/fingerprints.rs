//! The fingerprints of the keys that sign tokens, kept in the database so that a node with other keys refuses to start
//! rather than refuse every token.

use std::fmt;

/// An opaque text that is the same for the same key and gives nothing away about it. The server makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Takes the text as the server made it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text within.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The fingerprints of the keys that this node was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFingerprints {
    /// Of the key that signs USER tokens.
    pub user: Fingerprint,
    /// Of the key that signed USER tokens before.
    pub user_previous: Option<Fingerprint>,
    /// Of the key that signs CLIENT tokens.
    pub client: Fingerprint,
    /// Of the key that signed CLIENT tokens before.
    pub client_previous: Option<Fingerprint>,
}

/// One of the two keys that sign tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// Signs USER tokens.
    User,
    /// Signs CLIENT tokens.
    Client,
}

impl SigningKey {
    /// The setting that holds the key.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::User => "JWT_SECRET",
            Self::Client => "JWT_API_SECRET",
        }
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting())
    }
}

/// The two fingerprints as a database holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKeys {
    pub(crate) user: Fingerprint,
    pub(crate) client: Fingerprint,
}

/// What to do about the stored fingerprints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    /// They are this node's.
    Same,
    /// At least one is this node's previous key: the keys were rotated, and these are to be stored now.
    Rotated(StoredKeys),
    /// Neither this node's key nor its previous one.
    Other(SigningKey),
}

impl KeyFingerprints {
    /// What a new database stores.
    pub(crate) fn current(&self) -> StoredKeys {
        StoredKeys { user: self.user.clone(), client: self.client.clone() }
    }

    /// Compares with what a database stores.
    pub(crate) fn check(&self, stored: &StoredKeys) -> KeyCheck {
        let mut rotated = false;
        for (which, stored, current, previous) in [
            (SigningKey::User, &stored.user, &self.user, &self.user_previous),
            (SigningKey::Client, &stored.client, &self.client, &self.client_previous),
        ] {
            if stored == current {
                continue;
            }
            if previous.as_ref() != Some(stored) {
                return KeyCheck::Other(which);
            }
            rotated = true;
        }
        if rotated { KeyCheck::Rotated(self.current()) } else { KeyCheck::Same }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(user: &str, user_previous: Option<&str>, client: &str) -> KeyFingerprints {
        KeyFingerprints {
            user: Fingerprint::new(user),
            user_previous: user_previous.map(Fingerprint::new),
            client: Fingerprint::new(client),
            client_previous: None,
        }
    }

    #[test]
    fn only_the_same_keys_or_the_ones_before_are_taken() {
        let stored = keys("a", None, "x").current();
        assert_eq!(keys("a", None, "x").check(&stored), KeyCheck::Same);
        assert_eq!(keys("a", Some("z"), "x").check(&stored), KeyCheck::Same);
        let rotated = keys("b", Some("a"), "x");
        assert_eq!(rotated.check(&stored), KeyCheck::Rotated(rotated.current()));
        assert_eq!(keys("b", None, "x").check(&stored), KeyCheck::Other(SigningKey::User));
        assert_eq!(keys("b", Some("c"), "x").check(&stored), KeyCheck::Other(SigningKey::User));
        assert_eq!(keys("a", None, "y").check(&stored), KeyCheck::Other(SigningKey::Client));
    }
}
