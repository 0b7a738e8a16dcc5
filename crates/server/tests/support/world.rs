use chatsphere_core::{RoomId, UserId};
use serde_json::{Value, json};

use super::TestServer;

/// A user and one of its tokens.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) username: String,
    pub(crate) token: String,
    pub(crate) token_id: String,
}

impl TestServer {
    pub(crate) async fn user(&self, username: &str) -> Person {
        self.user_as(username, "MEMBER").await
    }

    pub(crate) async fn user_as(&self, username: &str, role: &str) -> Person {
        let body = json!({ "username": username, "role": role });
        let made = self.post("/api/users", &body).client().send().await.ok(201);
        Person {
            id: made["user"]["id"].as_str().expect("an id").parse().expect("an id"),
            username: username.to_owned(),
            token: text(&made["token"]),
            token_id: text(&made["tokenId"]),
        }
    }

    /// Mints another token of the same user; `more` is added to the body.
    pub(crate) async fn token(&self, user: UserId, more: Value) -> Person {
        let mut body = json!({ "userId": user });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        let made = self.post("/api/tokens/user", &body).client().send().await.ok(201);
        Person { id: user, username: text(&made["user"]["username"]), token: text(&made["token"]), token_id: text(&made["id"]) }
    }

    pub(crate) async fn room(&self, name: &str, owner: &Person) -> RoomId {
        let made = self.post("/api/rooms", &json!({ "name": name })).bearer(&owner.token).send().await.ok(201);
        made["id"].as_str().expect("an id").parse().expect("an id")
    }

    pub(crate) async fn add(&self, room: RoomId, user: UserId) {
        self.post(&format!("/api/rooms/{room}/users"), &json!({ "userId": user })).client().send().await.ok(200);
    }

    pub(crate) async fn say(&self, room: RoomId, by: &Person, content: &str) -> Value {
        let body = json!({ "content": content });
        self.post(&format!("/api/rooms/{room}/messages"), &body).bearer(&by.token).send().await.ok(201)
    }
}

/// A room with its owner, and users with various relations to it.
pub(crate) struct World {
    pub(crate) room: RoomId,
    pub(crate) owner: Person,
    pub(crate) member: Person,
    pub(crate) moderator: Person,
    pub(crate) stranger: Person,
    pub(crate) admin: Person,
}

impl World {
    pub(crate) async fn new(server: &TestServer) -> Self {
        let owner = server.user("owner").await;
        let member = server.user("member").await;
        let moderator = server.user_as("moderator", "MODERATOR").await;
        let stranger = server.user("stranger").await;
        let admin = server.user_as("boss", "ADMIN").await;
        let room = server.room("lobby", &owner).await;
        server.add(room, member.id).await;
        server.add(room, moderator.id).await;
        Self { room, owner, member, moderator, stranger, admin }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
