//! The fingerprints of the keys that sign tokens. The database stores them, so that a node with other keys does not start,
//! instead of refusing every token.

use std::fmt;

/// A fingerprint of a key: an opaque text that is equal for equal keys and reveals nothing about the key. The server makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Wraps the text that the server made.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The fingerprints of this node's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFingerprints {
    /// The fingerprint of the key that signs USER tokens.
    pub user: Fingerprint,
    /// That of the previous key of USER tokens.
    pub user_previous: Option<Fingerprint>,
    /// The fingerprint of the key that signs CLIENT tokens.
    pub client: Fingerprint,
    /// That of the previous key of CLIENT tokens.
    pub client_previous: Option<Fingerprint>,
    /// The fingerprint of the key of hashes of contents, which is never rotated. A command may run before it exists.
    pub content: Option<Fingerprint>,
    /// Whether this node generated the key of contents by itself. Then a lost one is replaced: a node that cannot start would be
    /// worse than some repeated calls that are not recognised.
    pub content_is_generated: bool,
}

/// One of the keys of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// The key that signs USER tokens.
    User,
    /// The key that signs CLIENT tokens.
    Client,
    /// The key of hashes of contents.
    Content,
}

impl SigningKey {
    /// Returns the name of the setting of the key.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::User => "JWT_SECRET",
            Self::Client => "JWT_API_SECRET",
            Self::Content => "CHATSPHERE_CONTENT_KEY",
        }
    }

    /// Returns what is wrong with another key, and what to do.
    pub(crate) fn mismatch(self) -> String {
        match self {
            Self::User | Self::Client => format!(
                "the tokens in this database were signed with another {self}\ngive this node the {self} that the other nodes \
                 have; to change it for good, also set {self}_PREVIOUS to the old one"
            ),
            Self::Content => format!(
                "the hashes of contents in this database were made with another {self}\ngive this node the {self} that the \
                 other nodes have, or the secrets.toml that belongs to the database; it never changes"
            ),
        }
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting())
    }
}

/// The fingerprints that a database stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKeys {
    pub(crate) user: Fingerprint,
    pub(crate) client: Fingerprint,
    /// Absent in a database from before there was such a key.
    pub(crate) content: Option<Fingerprint>,
}

/// The result of comparing the stored fingerprints with this node's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    /// The fingerprints are this node's.
    Same,
    /// The keys were rotated, or one is new: these fingerprints must be stored now.
    Rotated(StoredKeys),
    /// The fingerprint is neither that of this node's key nor of its previous one.
    Other(SigningKey),
}

impl KeyFingerprints {
    /// Returns the fingerprints that a new database stores.
    pub(crate) fn current(&self) -> StoredKeys {
        StoredKeys { user: self.user.clone(), client: self.client.clone(), content: self.content.clone() }
    }

    /// Compares the node's keys with the stored fingerprints.
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
        let content = self.content.as_ref().or(stored.content.as_ref());
        if content != stored.content.as_ref() {
            if stored.content.is_some() {
                if !self.content_is_generated {
                    return KeyCheck::Other(SigningKey::Content);
                }
                tracing::warn!(
                    "the hashes of contents in this database were made with another key, which was lost: calls that were \
                     made before and are repeated now may be refused as `idempotency_key_reused`"
                );
            }
            rotated = true;
        }
        if rotated { KeyCheck::Rotated(StoredKeys { content: content.cloned(), ..self.current() }) } else { KeyCheck::Same }
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
            content: None,
            content_is_generated: false,
        }
    }

    #[test]
    fn only_current_and_previous_keys_are_accepted() {
        let stored = keys("a", None, "x").current();
        assert_eq!(keys("a", None, "x").check(&stored), KeyCheck::Same);
        assert_eq!(keys("a", Some("z"), "x").check(&stored), KeyCheck::Same);
        let rotated = keys("b", Some("a"), "x");
        assert_eq!(rotated.check(&stored), KeyCheck::Rotated(rotated.current()));
        assert_eq!(keys("b", None, "x").check(&stored), KeyCheck::Other(SigningKey::User));
        assert_eq!(keys("b", Some("c"), "x").check(&stored), KeyCheck::Other(SigningKey::User));
        assert_eq!(keys("a", None, "y").check(&stored), KeyCheck::Other(SigningKey::Client));
        // The key of contents may be added, and never changes if it is given. A command may lack it.
        let with = |content| KeyFingerprints { content: Some(Fingerprint::new(content)), ..keys("a", None, "x") };
        assert_eq!(with("k").check(&stored), KeyCheck::Rotated(with("k").current()));
        let stored = with("k").current();
        assert_eq!(with("k").check(&stored), KeyCheck::Same);
        assert_eq!(with("l").check(&stored), KeyCheck::Other(SigningKey::Content));
        assert_eq!(keys("a", None, "x").check(&stored), KeyCheck::Same);
        let KeyCheck::Rotated(kept) = keys("b", Some("a"), "x").check(&stored) else { panic!("no rotation") };
        assert_eq!(kept.content, stored.content);
        let regenerated = KeyFingerprints { content_is_generated: true, ..with("l") };
        assert_eq!(regenerated.check(&stored), KeyCheck::Rotated(regenerated.current()));
    }
}
