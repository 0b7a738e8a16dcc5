//! The secrets that sign tokens, and the JWTs signed with them: HS256 only (RFC 7519; RFC 8725, section 3.1).

use std::fmt;

use chatsphere_core::{Caller, Email, Error, Permissions, Role, Token, TokenId, TokenRefusal, TokenType, User, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Verified;
use super::cursor::{CursorKeys, Cursors, List};
use super::token_cache::TokenCache;

/// Longer JWTs are rejected unread: the longest that this server issues, with 1,000 rooms, is shorter.
const LONGEST_TOKEN: usize = 64 * 1024;
/// RFC 7518, section 3.2: a key for HS256 has at least 256 bits.
const SHORTEST_SECRET: usize = 32;
/// Placeholders of tutorials and `.env` templates.
const PLACEHOLDERS: [&str; 7] = ["your-", "your_", "changeme", "change-me", "change_me", "replace-", "placeholder"];

/// A secret that signs tokens. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// A secret that could be guessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {reason}; make a good one with `openssl rand -hex 32`")]
pub struct WeakSecret {
    name: String,
    reason: &'static str,
}

impl Secret {
    /// Parses the value of the setting `name`.
    ///
    /// # Errors
    /// If it is a placeholder, has fewer than 32 bytes, or repeats one character.
    pub fn parse(name: &str, value: &str) -> Result<Self, WeakSecret> {
        let weak = |reason| Err(WeakSecret { name: name.to_owned(), reason });
        let lower = value.to_ascii_lowercase();
        if PLACEHOLDERS.iter().any(|placeholder| lower.contains(placeholder)) {
            return weak("a placeholder");
        }
        if value.len() < SHORTEST_SECRET {
            return weak("shorter than 32 bytes");
        }
        if value.bytes().all(|byte| Some(byte) == value.bytes().next()) {
            return weak("one character repeated");
        }
        Ok(Self(value.as_bytes().to_vec()))
    }

    /// Whether this is the secret, compared in constant time.
    pub fn is(&self, given: &str) -> bool {
        let hash = |bytes: &[u8]| Sha256::digest(bytes);
        hash(&self.0).iter().zip(hash(given.as_bytes())).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }

    /// For deriving keys.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret in plain text, for a file that only its owner can read.
    pub(crate) fn reveal(&self) -> &str {
        // Created from text, so it is UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A hash by which the database recognises the secret, and from which the secret cannot be recovered.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new().chain_update(b"chatsphere key fingerprint v1\0").chain_update(&self.0).finalize();
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Signs and verifies tokens of both types.
pub struct Keys {
    user: Pair,
    client: Pair,
    validation: Validation,
    token_cache: TokenCache,
    cursors: CursorKeys,
}

/// The current secret, and the previous one, whose tokens are still valid.
struct Pair {
    sign: EncodingKey,
    verify: Vec<DecodingKey>,
}

impl Pair {
    fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        let verify = std::iter::once(secret).chain(previous).map(|secret| DecodingKey::from_secret(&secret.0)).collect();
        Self { sign: EncodingKey::from_secret(&secret.0), verify }
    }
}

/// The claims of a token. Only `jti` and `type` are read back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    sub: UserId,
    user_id: UserId,
    jti: TokenId,
    #[serde(rename = "type")]
    token_type: TokenType,
    username: &'a str,
    role: Role,
    permissions: &'a Permissions,
    /// Of a CLIENT token, as in the first version.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    iat: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Located {
    jti: TokenId,
    #[serde(rename = "type")]
    token_type: TokenType,
}

impl Keys {
    /// Creates the keys from the current secrets and, during a rotation, the previous ones.
    pub fn new(user: &Secret, user_previous: Option<&Secret>, client: &Secret, client_previous: Option<&Secret>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The store's row determines the expiry, by the injected clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            user: Pair::new(user, user_previous),
            client: Pair::new(client, client_previous),
            validation,
            token_cache: TokenCache::default(),
            cursors: CursorKeys::new(std::iter::once(user).chain(user_previous).map(|secret| &*secret.0)),
        }
    }

    /// The cursors of a list for a caller.
    pub(crate) fn cursors(&self, caller: &Caller, list: List) -> Cursors<'_> {
        Cursors::new(&self.cursors, caller, list)
    }

    /// The JWT of a token's row. The result is the same while the user's name and role stay the same.
    ///
    /// # Errors
    /// [`Error::Internal`] if the claims cannot be serialised.
    pub fn sign(&self, token: &Token, user: &User) -> Result<String, Error> {
        let pair = match token.token_type {
            TokenType::User => &self.user,
            TokenType::Client => &self.client,
        };
        let claims = Claims {
            sub: user.id,
            user_id: user.id,
            jti: token.id,
            token_type: token.token_type,
            username: user.username.as_str(),
            role: user.role,
            permissions: &token.permissions,
            email: token.email.as_ref().map(Email::as_str),
            iat: token.created_at.as_seconds(),
            exp: token.expires_at.as_seconds(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &pair.sign).map_err(|error| {
            tracing::error!(%error, "a token could not be signed");
            Error::Internal
        })
    }

    /// Verifies a token's signature. No other claim is trusted.
    ///
    /// # Errors
    /// [`TokenRefusal::Missing`] for an empty text, [`TokenRefusal::Invalid`] for a token that this server did not sign.
    pub fn verify(&self, token: &str) -> Result<Verified, TokenRefusal> {
        if token.is_empty() {
            return Err(TokenRefusal::Missing);
        }
        if token.len() > LONGEST_TOKEN {
            return Err(TokenRefusal::Invalid);
        }
        if let Some(verified) = self.token_cache.get(token) {
            return Ok(verified);
        }
        let verified = self.verify_signature(token)?;
        self.token_cache.keep(token, verified);
        Ok(verified)
    }

    fn verify_signature(&self, token: &str) -> Result<Verified, TokenRefusal> {
        for (token_type, pair) in [(TokenType::User, &self.user), (TokenType::Client, &self.client)] {
            for key in &pair.verify {
                if let Ok(data) = jsonwebtoken::decode::<Located>(token, key, &self.validation) {
                    // If both types share a secret, the claim distinguishes them.
                    if data.claims.token_type == token_type {
                        return Ok(Verified { token_id: data.claims.jti, token_type });
                    }
                }
            }
        }
        Err(TokenRefusal::Invalid)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chatsphere_core::{Timestamp, Username};

    use super::*;

    fn row(token_type: TokenType) -> (Token, User) {
        let now = Timestamp::from_millis(1_795_341_370_000);
        let user_id = UserId::new(now);
        let token = Token {
            id: TokenId::new(now),
            token_type,
            user_id,
            permissions: Permissions::ALL,
            parent: None,
            email: None,
            created_at: now,
            expires_at: now.after(Duration::from_secs(60)),
            revoked_at: None,
        };
        let username = Username::from_stored("ada".to_owned());
        let user = User {
            id: user_id,
            username,
            role: Role::Member,
            disabled: false,
            external_id: None,
            created_at: now,
            updated_at: now,
        };
        (token, user)
    }

    fn secret(letter: char) -> Secret {
        Secret::parse("JWT_SECRET", &format!("{letter}0123456789abcdef0123456789abcdef")).unwrap()
    }

    #[test]
    fn only_what_was_signed_here_is_verified() {
        let keys = Keys::new(&secret('a'), None, &secret('b'), None);
        let (token, user) = row(TokenType::User);
        let text = keys.sign(&token, &user).unwrap();
        assert_eq!(keys.verify(&text), Ok(Verified { token_id: token.id, token_type: TokenType::User }));
        let strangers = Keys::new(&secret('c'), None, &secret('d'), None);
        assert_eq!(strangers.verify(&text), Err(TokenRefusal::Invalid));
        let crossed = Keys::new(&secret('b'), None, &secret('a'), None);
        assert_eq!(crossed.verify(&text), Err(TokenRefusal::Invalid));
        let rotated = Keys::new(&secret('c'), Some(&secret('a')), &secret('b'), None);
        assert!(rotated.verify(&text).is_ok());
        let (head, rest) = text.split_once('.').unwrap();
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", rest.split_once('.').unwrap().0);
        for bad in ["x".to_owned(), none, format!("{head}.{rest}x"), format!("{text}.x"), "x".repeat(70_000)] {
            assert_eq!(keys.verify(&bad), Err(TokenRefusal::Invalid), "{bad}");
        }
        assert_eq!(keys.verify(""), Err(TokenRefusal::Missing));
    }

    #[test]
    fn a_client_token_carries_its_email() {
        let keys = Keys::new(&secret('a'), None, &secret('b'), None);
        let claims = |token: &Token, user: &User| {
            let text = keys.sign(token, user).unwrap();
            let claims = text.split('.').nth(1).unwrap().to_owned();
            let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
            serde_json::from_slice::<serde_json::Value>(&claims).unwrap()
        };
        let (mut token, user) = row(TokenType::Client);
        token.email = Some(Email::parse("ops@example.com".to_owned()).unwrap());
        assert_eq!(claims(&token, &user)["email"], "ops@example.com");
        let (token, user) = row(TokenType::User);
        assert_eq!(claims(&token, &user).get("email"), None);
    }

    #[test]
    fn guessable_secrets_are_refused() {
        for bad in ["", "short", "your-secret-key", "your-secret-key-your-secret-key-your-secret-key", &"a".repeat(40)] {
            assert!(Secret::parse("JWT_SECRET", bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", secret('a')).contains("0123"));
        assert_ne!(secret('a').fingerprint(), secret('b').fingerprint());
    }
}
