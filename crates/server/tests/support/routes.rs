//! The table of all REST calls, for tests that iterate over them.

use serde_json::{Value, json};

use super::{Person, TestServer, World};

/// The callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    Nobody,
    Stranger,
    Member,
    Owner,
    Moderator,
    Admin,
    Client,
    /// The member, with a token that allows only `read`.
    ReadOnly,
    /// The member, with a token for this room only.
    Scoped,
    /// The member, with a revoked token.
    Revoked,
    /// The ADMIN, with a token for this room only.
    ScopedAdmin,
}

impl Actor {
    pub(crate) const ALL: [Self; 11] = [
        Self::Nobody,
        Self::Stranger,
        Self::Member,
        Self::Owner,
        Self::Moderator,
        Self::Admin,
        Self::Client,
        Self::ReadOnly,
        Self::Scoped,
        Self::Revoked,
        Self::ScopedAdmin,
    ];
}

/// A call.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// The path as in the API's description.
    pub(crate) path: &'static str,
    /// Makes a valid body for a [`Target`].
    pub(crate) body: Option<fn(&Target) -> Value>,
    /// The expected status for each of [`Actor::ALL`].
    pub(crate) expected: [u16; 11],
}

/// The objects that a call uses. Each call gets new ones, so that calls do not affect each other.
pub(crate) struct Target {
    /// A number that no other target has.
    pub(crate) number: usize,
    /// The user whose token is revoked, whose messages are read, who is removed.
    pub(crate) user: Person,
    pub(crate) room: String,
    /// A second token of `user`.
    pub(crate) token_id: String,
    /// A message of the world's member in `room`.
    pub(crate) message: String,
}

impl Route {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it needs a token.
    pub(crate) fn is_public(&self) -> bool {
        self.expected[0] == 200
    }

    pub(crate) fn path_for(&self, target: &Target) -> String {
        self.path
            .replace("{roomId}", &target.room)
            .replace("{userId}", &target.user.id.to_string())
            .replace("{tokenId}", &target.token_id)
            .replace("{messageId}", &target.message)
            .replace("{externalId}", &target.number.to_string())
    }

    /// Creates the objects of the call. The user is the world's member, unless the call would remove that user.
    pub(crate) async fn target(&self, server: &TestServer, world: &World, number: usize) -> Target {
        let spent = self.path == "/api/rooms/{roomId}/users/{userId}" || self.name() == "PATCH /api/users/{userId}";
        let user = if spent || self.path == "/api/rooms/{roomId}/users" {
            server.user(&format!("target {number}")).await
        } else {
            world.member.clone()
        };
        if spent {
            server.add(world.room, user.id).await;
        }
        let token_id = match self.path.contains("{tokenId}") {
            true => server.token(user.id, json!({})).await.token_id,
            false => String::new(),
        };
        let message = match self.path.contains("{messageId}") {
            true => server.say(world.room, &world.member, "hello").await["id"].as_str().unwrap().to_owned(),
            false => String::new(),
        };
        Target { number, user, room: world.room.to_string(), token_id, message }
    }
}

const ANYONE: [u16; 11] = [200; 11];
const ANY_TOKEN: [u16; 11] = [401, 200, 200, 200, 200, 200, 200, 200, 200, 401, 200];
const PRIVILEGED: [u16; 11] = [401, 403, 403, 403, 403, 200, 200, 403, 403, 401, 200];
/// Privileged callers with an unrestricted token.
const UNRESTRICTED: [u16; 11] = [401, 403, 403, 403, 403, 200, 200, 403, 403, 401, 403];
const INSIDERS: [u16; 11] = [401, 403, 200, 200, 200, 200, 200, 200, 200, 401, 200];
const STEWARDS: [u16; 11] = [401, 403, 403, 200, 200, 200, 200, 403, 403, 401, 200];
/// `target.user`, which is the member, and privileged callers.
const ONESELF: [u16; 11] = [401, 403, 200, 403, 403, 200, 200, 200, 200, 401, 200];

macro_rules! route {
    ($method:literal $path:literal, $expected:expr) => {
        Route { method: $method, path: $path, body: None, expected: $expected }
    };
    ($method:literal $path:literal, $expected:expr, $body:expr) => {
        Route { method: $method, path: $path, body: Some($body), expected: $expected }
    };
}

//                                      none str. mem. own. mod. adm. cli. r-o. sco. rev. s-a.
pub(crate) const ROUTES: &[Route] = &[
    route!("GET" "/api/health", ANYONE),
    route!("GET" "/livez", ANYONE),
    route!("GET" "/readyz", ANYONE),
    route!("GET" "/metrics", PRIVILEGED),
    route!("GET" "/api/auth/profile", ANY_TOKEN),
    route!("PUT" "/api/auth/profile",   [401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
        |target| json!({ "username": format!("name {}", target.number) })),
    route!("GET" "/api/users", UNRESTRICTED),
    route!("POST" "/api/users",         [401, 403, 403, 403, 403, 201, 201, 403, 403, 401, 403],
        |target| json!({ "username": format!("user {}", target.number), "role": "MEMBER" })),
    route!("GET" "/api/users/{userId}", [401, 403, 200, 403, 403, 200, 200, 200, 200, 401, 403]),
    route!("PUT" "/api/users/external/{externalId}", [401, 403, 403, 403, 403, 201, 201, 403, 403, 401, 403],
        |target| json!({ "username": format!("external {}", target.number) })),
    route!("PATCH" "/api/users/{userId}", UNRESTRICTED, |_| json!({ "role": "MODERATOR", "disabled": false })),
    route!("GET" "/api/users/{userId}/messages", ONESELF),
    route!("GET" "/api/messages/user", ANY_TOKEN),
    route!("GET" "/api/messages", PRIVILEGED),
    route!("GET" "/api/rooms", ANY_TOKEN),
    route!("POST" "/api/rooms",         [401, 201, 201, 201, 201, 201, 201, 403, 403, 401, 403],
        |_| json!({ "name": "another room" })),
    route!("GET" "/api/rooms/{roomId}", INSIDERS),
    route!("GET" "/api/rooms/{roomId}/users", INSIDERS),
    route!("POST" "/api/rooms/{roomId}/users", STEWARDS, |target| json!({ "userId": target.user.id })),
    route!("DELETE" "/api/rooms/{roomId}/users/{userId}", STEWARDS),
    route!("GET" "/api/rooms/{roomId}/messages", INSIDERS),
    route!("POST" "/api/rooms/{roomId}/messages", [401, 403, 201, 201, 201, 201, 201, 403, 201, 401, 201],
        |_| json!({ "content": "hello" })),
    route!("GET" "/api/rooms/{roomId}/messages/{messageId}", INSIDERS),
    route!("PATCH" "/api/rooms/{roomId}/messages/{messageId}", [401, 403, 200, 403, 403, 403, 200, 403, 200, 401, 403],
        |_| json!({ "content": "hello, world" })),
    route!("DELETE" "/api/rooms/{roomId}/messages/{messageId}", [401, 403, 200, 200, 200, 200, 200, 403, 200, 401, 200]),
    route!("GET" "/api/rooms/{roomId}/messages/{messageId}/versions", [401, 403, 200, 200, 200, 200, 200, 200, 200, 401, 200]),
    route!("DELETE" "/api/rooms/{roomId}/messages/{messageId}/versions",
                                        [401, 403, 200, 403, 403, 403, 200, 403, 200, 401, 403]),
    route!("GET" "/api/rooms/{roomId}/pins", INSIDERS),
    route!("PUT" "/api/rooms/{roomId}/pins/{messageId}", STEWARDS),
    route!("DELETE" "/api/rooms/{roomId}/pins/{messageId}", STEWARDS),
    route!("GET" "/api/rooms/{roomId}/events", INSIDERS),
    route!("POST" "/api/rooms/{roomId}/typing", [401, 403, 200, 200, 200, 200, 200, 403, 200, 401, 200],
        |_| json!({ "on": true })),
    route!("POST" "/api/rooms/{roomId}/signals", [401, 403, 200, 200, 200, 200, 200, 403, 200, 401, 200],
        |_| json!({ "name": "cursor", "data": { "x": 1 } })),
    route!("GET" "/api/tokens", UNRESTRICTED),
    route!("POST" "/api/tokens/user",   [401, 403, 201, 403, 403, 403, 201, 403, 201, 401, 403],
        |target| json!({ "userId": target.user.id, "expiresIn": "1h" })),
    route!("POST" "/api/tokens/client", [401, 403, 403, 403, 403, 403, 201, 403, 403, 401, 403],
        |target| json!({ "userId": target.user.id, "email": "a@b.example" })),
    route!("DELETE" "/api/tokens/{tokenId}", [401, 403, 200, 403, 403, 200, 200, 403, 403, 401, 403]),
    route!("PUT" "/api/tokens/{tokenId}/revoke", [401, 403, 200, 403, 403, 200, 200, 403, 403, 401, 403]),
];
