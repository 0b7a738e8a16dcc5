//! Tests that invalid input gets a 4xx answer with the right code in the standard form, and never a 5xx.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatsphere::auth::Keys;
use serde_json::{Value, json};
use support::{Call, ROUTES, Route, Target, TestServer, World, secret, start};

const UNKNOWN: &str = "0198c0de-7c1a-7000-8000-0123456789ab";

struct Case {
    server: TestServer,
    world: World,
    /// A message of the member in the room.
    message: String,
}

impl Case {
    async fn new() -> Self {
        let server = start().await;
        let world = World::new(&server).await;
        let message = server.say(world.room, &world.member, "hello").await["id"].as_str().unwrap().to_owned();
        Self { server, world, message }
    }

    /// A target whose user is the member. It is shared, because none of these calls is to succeed.
    fn target(&self) -> Target {
        let member = self.world.member.clone();
        Target {
            number: 0,
            room: self.world.room.to_string(),
            token_id: member.token_id.clone(),
            message: self.message.clone(),
            user: member,
        }
    }

    fn call(&self, route: &Route) -> Call<'_> {
        self.server.call(route.method, &route.path_for(&self.target())).client()
    }

    fn with_bodies(&self) -> impl Iterator<Item = (&'static Route, Value)> {
        let target = self.target();
        ROUTES.iter().filter_map(move |route| route.body.map(|body| (route, body(&target))))
    }
}

#[tokio::test]
async fn bodies_that_are_not_json() {
    let case = Case::new().await;
    let deep = format!("{{\"content\":{}", "[".repeat(200_000));
    let deep_objects = "{\"a\":".repeat(40_000);
    for (route, body) in case.with_bodies() {
        let name = route.name();
        let good = body.to_string().into_bytes();
        case.call(route).send().await.refused(415, "unsupported_media_type");
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""] {
            case.call(route).raw(kind, good.clone()).send().await.refused(415, "unsupported_media_type");
        }
        let mut cut = good.clone();
        cut.pop();
        let mut twice = good.clone();
        twice.extend_from_slice(&good);
        let mut latin = good.clone();
        latin.splice(1..1, b"\"x\":\"\xff\",".iter().copied());
        for bad in [
            b"".to_vec(),
            b" \n".to_vec(),
            b"null".to_vec(),
            b"7".to_vec(),
            b"\"text\"".to_vec(),
            b"[]".to_vec(),
            b"[1,2,3,4]".to_vec(),
            b"{".to_vec(),
            b"\xff\xfe{\x00}\x00".to_vec(),
            b"\xef\xbb\xbf\xef\xbb\xbf{}".to_vec(),
            b"\xef\xbb\xbf".to_vec(),
            b"{'content':'x'}".to_vec(),
            b"{\"a\":1,}".to_vec(),
            b"{\"a\":NaN}".to_vec(),
            deep.clone().into_bytes(),
            deep_objects.clone().into_bytes(),
            cut,
            twice,
            latin,
        ] {
            let answer = case.call(route).raw("application/json", bad.clone()).send().await;
            assert_eq!(answer.status.as_u16(), 400, "{name} {:?}", String::from_utf8_lossy(&bad[..bad.len().min(40)]));
            // Missing fields may be found before the end of the text.
            assert!(matches!(answer.problem().as_str(), "malformed" | "invalid"), "{name}");
        }
    }
}

#[tokio::test]
async fn invalid_fields() {
    let case = Case::new().await;
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
    for (route, body) in case.with_bodies() {
        let name = route.name();
        // `data` of a signal is any JSON.
        for (field, _) in body.as_object().unwrap().iter().filter(|(field, _)| *field != "data") {
            for wrong in
                [json!(7), json!(-1), json!(1e300), json!([]), json!({}), json!(["x"]), json!({ "$gt": "" }), deep.clone()]
            {
                let mut body = body.clone();
                body[field] = wrong.clone();
                let answer = case.call(route).json(&body).send().await;
                assert_eq!(answer.status.as_u16(), 400, "{name} {field}: {wrong}: {}", answer.text());
                answer.invalid(field);
            }
        }
        // `typing` needs no body.
        if route.path.ends_with("/typing") {
            assert_eq!(case.call(route).json(&json!({})).send().await.status.as_u16(), 200);
            continue;
        }
        // At least one field is required, in most calls more.
        for nothing in ["{}", r#"{"unknown":7,"Role":"ADMIN"}"#, "\u{feff}{}"] {
            let answer = case.call(route).raw("application/json", nothing.as_bytes().to_vec()).send().await;
            let text = answer.text();
            let errors = answer.refused(400, "invalid")["errors"].clone();
            let message = errors[0]["message"].as_str().unwrap();
            assert!(
                message == "is required"
                    || message.starts_with("at least one of these fields")
                    || message.starts_with("is needed, or"),
                "{name}: {text}"
            );
            assert!(
                errors.as_array().unwrap().iter().any(|error| body.get(error["field"].as_str().unwrap()).is_some()),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn invalid_texts() {
    let case = Case::new().await;
    let huge = "x".repeat(200_000);
    for (route, body) in case.with_bodies() {
        for (field, value) in body.as_object().unwrap() {
            if !value.is_string() {
                continue;
            }
            // The texts are JSON escapes, because a text of Rust can't contain a lone surrogate.
            for text in [r"\u0000", r"a\u0000b", r"\ud800", r"\udc00\ud800", "", huge.as_str()] {
                let mut body = body.clone();
                body[field] = json!("@@@");
                let body = body.to_string().replace("@@@", text);
                let answer = case.call(route).raw("application/json", body.into_bytes()).send().await;
                let what = format!("{} {field} {:.20}: {}", route.name(), text, answer.text());
                let code = answer.problem();
                match answer.status.as_u16() {
                    400 => {
                        assert_eq!((code.as_str(), &answer.json()["errors"][0]["field"]), ("invalid", &json!(field)), "{what}")
                    }
                    // A text that is not a UUID is the id of no user.
                    404 => assert_eq!((code.as_str(), field.as_str()), ("user_not_found", "userId"), "{what}"),
                    status => panic!("{status}: {what}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn compressed_bodies() {
    let case = Case::new().await;
    for (number, (route, _)) in case.with_bodies().enumerate() {
        let target = route.target(&case.server, &case.world, 1_000 + number).await;
        let good = route.body.unwrap()(&target).to_string().into_bytes();
        let call = || case.server.call(route.method, &route.path_for(&target)).client();
        for (coding, named) in [
            ("gzip", "gzip"),
            ("X-GZIP", "x-gzip"),
            ("br", "br"),
            ("deflate, gzip", "deflate"),
            ("identity, zstd", "zstd"),
            ("secret", "…"),
        ] {
            let answer = call().header("content-encoding", coding).raw("application/json", good.clone()).send().await;
            assert_eq!(answer.header("accept-encoding"), Some("identity"), "{coding}");
            let problem = answer.refused(415, "unsupported_media_type");
            assert!(problem["detail"].as_str().unwrap().contains(&format!("`Content-Encoding: {named}`")), "{problem}");
        }
        let answer = call().header("content-encoding", "Identity").raw("application/json", good.clone()).send().await;
        assert!(answer.status.is_success(), "{}: {}", route.name(), answer.text());
        // For another media type the error is not about content codings.
        let answer = call().raw("text/plain", good).send().await;
        assert_eq!(answer.header("accept-encoding"), None);
    }
}

/// Some libraries and editors write a byte order mark before JSON.
#[tokio::test]
async fn a_byte_order_mark_is_skipped() {
    let case = Case::new().await;
    for (number, (route, _)) in case.with_bodies().enumerate() {
        let target = route.target(&case.server, &case.world, 2_000 + number).await;
        let body = format!("\u{feff}{}", route.body.unwrap()(&target));
        let call = case.server.call(route.method, &route.path_for(&target)).client();
        let answer = call.raw("application/json", body.into_bytes()).send().await;
        assert!(answer.status.is_success(), "{}: {}", route.name(), answer.text());
    }
}

/// A misspelt field must not appear to succeed.
#[tokio::test]
async fn a_change_of_nothing_says_what_it_takes() {
    let case = Case::new().await;
    let path = format!("/api/users/{}", case.world.member.id);
    for nothing in [json!({}), json!({ "Disabled": true }), json!({ "role": null }), json!({ "role": null, "disabled": null })]
    {
        let answer = case.server.call("PATCH", &path).client().json(&nothing).send().await;
        let problem = answer.refused(400, "invalid");
        assert!(problem["detail"].as_str().unwrap().contains("role, disabled"), "{problem}");
    }
    // Next to a known field, an unknown one is ignored.
    case.server.call("PATCH", &path).client().json(&json!({ "disabled": false, "x": 1 })).send().await.ok(200);
}

/// A misspelt parameter would silently give another page. The Node.js version ignored unknown parameters, and so do its calls
/// here.
#[tokio::test]
async fn unknown_parameters_of_lists() {
    let case = Case::new().await;
    let document = chatsphere::http::openapi();
    let first_version = [
        "/api/users",
        "/api/users/{userId}/messages",
        "/api/messages",
        "/api/messages/user",
        "/api/rooms",
        "/api/rooms/{roomId}/messages",
        "/api/tokens",
    ];
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        let described = serde_json::to_string(&document.paths.paths[route.path].get).unwrap();
        if !described.contains(r#""name":"limit""#) {
            continue;
        }
        let path = route.path_for(&case.target());
        let answer = case.server.get(&format!("{path}?limit=2&lmit=3&sort=up&lmit=4&&=")).client().send().await;
        if first_version.contains(&route.path) {
            answer.ok(200);
            continue;
        }
        let problem = answer.refused(400, "invalid");
        let names: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
        assert_eq!(names, ["lmit", "sort"], "{}", route.name());
        assert!(problem["detail"].as_str().unwrap().contains("lmit, sort"), "{problem}");
        // A misplaced value may be a secret.
        let token = &case.world.member.token;
        let answer = case.server.get(&format!("{path}?{token}")).client().send().await;
        assert!(!answer.text().contains(token.as_str()));
        answer.refused(400, "invalid");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let case = Case::new().await;
    for (route, body) in case.with_bodies() {
        for size in [256 * 1024 + 1, 3_000_000] {
            let mut large = body.clone();
            large["padding"] = json!("x".repeat(size));
            case.call(route).json(&large).send().await.refused(413, "body_too_large");
        }
        // The body has exactly the largest size: the padding is ignored.
        let mut exact = body.to_string();
        exact.insert_str(1, &" ".repeat(256 * 1024 - exact.len()));
        let answer = case.call(route).raw("application/json", exact.into_bytes()).send().await;
        assert!(answer.status.is_success(), "{}: {}", route.name(), answer.text());
    }
}

/// Without a `Content-Length`, the limit is reached while the body is read.
#[tokio::test]
async fn a_chunked_body_that_is_too_large() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let case = Case::new().await;
    let mut stream = tokio::net::TcpStream::connect(case.server.addr).await.unwrap();
    let head = format!(
        "POST /api/rooms HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        case.server.client_token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..9 {
        stream.write_all(format!("8000\r\n{}\r\n", " ".repeat(0x8000)).as_bytes()).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn unknown_ids_in_paths() {
    let case = Case::new().await;
    let long = "a".repeat(5_000);
    for route in ROUTES.iter().filter(|route| route.path.contains('{')) {
        let name = route.name();
        for id in [UNKNOWN, "x", "%00", "%F0%9F%92%A9", "0198c0de7c1a700080000123456789ab", "-1", "null", "..%2F..", &long] {
            let good = case.target();
            for parameter in ["{roomId}", "{userId}", "{tokenId}", "{messageId}"] {
                if !route.path.contains(parameter) {
                    continue;
                }
                // Removing a user who is not a member changes nothing, and succeeds.
                let noop = name == "DELETE /api/rooms/{roomId}/users/{userId}" && parameter == "{userId}" && id == UNKNOWN;
                let path = route.path.replace(parameter, id);
                let path = path.replace("{roomId}", &good.room).replace("{userId}", &good.user.id.to_string());
                let path = path.replace("{messageId}", &good.message);
                let call = || {
                    let call = case.server.call(route.method, &path);
                    if let Some(body) = route.body { call.json(&body(&good)) } else { call }
                };
                let (status, code) = match parameter {
                    "{roomId}" => (404, "room_not_found"),
                    "{userId}" => (404, "user_not_found"),
                    "{messageId}" => (404, "message_not_found"),
                    _ => (404, "token_not_found"),
                };
                let by_client = call().client().send().await;
                if noop {
                    by_client.ok(200);
                } else {
                    assert_eq!((by_client.status.as_u16(), by_client.problem().as_str()), (status, code), "{name} {id}");
                }
                let by_user = call().bearer(&case.world.stranger.token).send().await;
                match parameter {
                    // A USER gets the same answer for a room of others, a room that does not exist, and an id that is not a
                    // UUID.
                    "{roomId}" => assert_eq!(by_user.problem(), "not_a_member", "{name} {id}"),
                    "{tokenId}" => assert_eq!(by_user.problem(), "client_token_required", "{name} {id}"),
                    _ => assert!(matches!(by_user.status.as_u16(), 403 | 404), "{name} {id}: {}", by_user.text()),
                }
            }
        }
        // Bytes that are not UTF-8 are no id either.
        let path = route
            .path
            .replace("{roomId}", "%ff")
            .replace("{userId}", "%ff")
            .replace("{tokenId}", "%ff")
            .replace("{messageId}", "%ff");
        let path = path.replace("{externalId}", "%ff");
        let answer = case.server.call(route.method, &path).client().send().await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (400, "malformed"), "{name}");
    }
}

#[tokio::test]
async fn unknown_ids_in_bodies() {
    let case = Case::new().await;
    for (route, body) in case.with_bodies() {
        if body.get("userId").is_none() && route.path != "/api/rooms" && !route.path.ends_with("/messages") {
            continue;
        }
        for id in [UNKNOWN, "x", "", "0198c0de7c1a700080000123456789ab"] {
            let mut body = body.clone();
            body["userId"] = json!(id);
            case.call(route).json(&body).send().await.refused(404, "user_not_found");
        }
    }
    let mint = |rooms: Value| {
        case.server
            .post("/api/tokens/user", &json!({ "userId": case.world.member.id, "permissions": { "rooms": rooms } }))
            .client()
    };
    mint(json!(["x"])).send().await.invalid("permissions.rooms[0]");
    mint(json!(vec![UNKNOWN; 1_001])).send().await.invalid("permissions.rooms");
    // A token for a room that does not exist is valid for no room. Minting it does not reveal whether the room exists.
    mint(json!([UNKNOWN])).send().await.ok(201);
    let mut email = json!({ "userId": case.world.member.id, "email": "nobody" });
    case.server.post("/api/tokens/client", &email).client().send().await.invalid("email");
    email["email"] = json!(7);
    case.server.post("/api/tokens/client", &email).client().send().await.invalid("email");
    let role = json!({ "username": "king", "role": "KING" });
    let answer = case.server.post("/api/users", &role).client().send().await;
    assert!(!answer.text().contains("KING"));
    answer.invalid("role");
}

#[tokio::test]
async fn invalid_tokens() {
    let case = Case::new().await;
    let (server, member) = (&case.server, &case.world.member);
    let [head, claims, signature]: [&str; 3] = member.token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let decoded: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = decoded.clone();
        claims[name] = value;
        format!("{head}.{}.{signature}", encode(&claims))
    };
    let row = server.backend.chat.store.token(member.token_id.parse().unwrap()).await.unwrap().unwrap();
    let strangers = Keys::new(&secret('x'), None, &secret('y'), None).sign(&row.token, &row.user).unwrap();
    let swapped = Keys::new(&secret('c'), None, &secret('u'), None).sign(&row.token, &row.user).unwrap();
    // The token is signed by this server, and the store does not have it.
    let mut unknown = row.token.clone();
    unknown.id = UNKNOWN.parse().unwrap();
    let unknown = server.backend.keys.sign(&unknown, &row.user).unwrap();
    let bad = [
        format!("{}.{claims}.", encode(&json!({ "alg": "none", "typ": "JWT" }))),
        format!("{}.{claims}.{signature}", encode(&json!({ "alg": "none", "typ": "JWT" }))),
        format!("{}.{claims}.{signature}", encode(&json!({ "alg": "HS512", "typ": "JWT" }))),
        format!("{}.{claims}.{signature}", encode(&json!({ "alg": "RS256", "typ": "JWT" }))),
        with("type", json!("CLIENT")),
        with("role", json!("ADMIN")),
        with("exp", json!(4_102_444_800_i64)),
        format!("{head}.{claims}.{}", &signature[1..]),
        format!("{head}.{claims}"),
        format!("{head}..{signature}"),
        "..".to_owned(),
        "null".to_owned(),
        "x".repeat(60_000),
        strangers,
        swapped,
        unknown,
    ];
    for route in ROUTES.iter().filter(|route| !route.is_public()) {
        for token in &bad {
            let call = server.call(route.method, &route.path_for(&case.target())).header("x-forwarded-for", "203.0.113.9");
            call.bearer(token).send().await.refused(401, "token_invalid");
        }
    }
    let brief = server.token(member.id, json!({ "expiresIn": "1s" })).await;
    server.advance(Duration::from_secs(1)).await;
    for route in ROUTES.iter().filter(|route| !route.is_public()) {
        let call = server.call(route.method, &route.path_for(&case.target())).header("x-forwarded-for", "203.0.113.9");
        call.bearer(&brief.token).send().await.refused(401, "token_expired");
    }
}

#[tokio::test]
async fn numbers_out_of_range() {
    let case = Case::new().await;
    let document = chatsphere::http::openapi();
    let mut lists = 0;
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        let described = serde_json::to_string(&document.paths.paths[route.path].get).unwrap();
        let path = route.path_for(&case.target());
        for parameter in ["limit", "cursor", "before", "after"] {
            if !described.contains(&format!(r#""name":"{parameter}""#)) {
                continue;
            }
            lists += 1;
            for bad in [
                "",
                "-1",
                "x",
                "1.5",
                "1e3",
                "0x10",
                "%00",
                "99999999999999999999999999",
                "9007199254740992",
                " 1",
                "+1",
                "%2B1",
            ] {
                let answer = case.server.get(&format!("{path}?{parameter}={bad}")).client().send().await;
                assert_eq!(answer.status.as_u16(), 400, "{path} {parameter}={bad}: {}", answer.text());
                answer.invalid(parameter);
            }
            case.server.get(&format!("{path}?{parameter}=1&{parameter}=1")).client().send().await.invalid(parameter);
        }
        if described.contains(r#""name":"limit""#) {
            for bad in ["0", "201"] {
                case.server.get(&format!("{path}?limit={bad}")).client().send().await.invalid("limit");
            }
            case.server.get(&format!("{path}?limit=200&&=")).client().send().await.ok(200);
        }
    }
    // `limit` and `cursor` of eight lists, `limit`, `before` and `after` of messages, `limit` and `after` of events, `cursor` of pins.
    assert_eq!(lists, 8 * 2 + 3 + 2 + 1);
    let history = format!("/api/rooms/{}/messages", case.world.room);
    case.server.get(&format!("{history}?before=3&after=1")).client().send().await.invalid("before");
    case.server.get("/api/messages/user?userId=x").client().send().await.refused(404, "user_not_found");
    case.server.get(&format!("/api/messages/user?userId={UNKNOWN}")).client().send().await.refused(404, "user_not_found");
}

#[tokio::test]
async fn rooms_and_tokens_of_others() {
    let case = Case::new().await;
    let (server, world) = (&case.server, &case.world);
    let stranger = &world.stranger.token;
    let body = json!({ "userId": world.member.id });
    server
        .get(&format!("/api/users/{}/messages", world.member.id))
        .bearer(stranger)
        .send()
        .await
        .refused(403, "client_token_required");
    server
        .get(&format!("/api/messages/user?userId={}", world.member.id))
        .bearer(stranger)
        .send()
        .await
        .refused(403, "client_token_required");
    server.post("/api/tokens/user", &body).bearer(stranger).send().await.refused(403, "not_yourself");
    server
        .delete(&format!("/api/tokens/{}", world.member.token_id))
        .bearer(stranger)
        .send()
        .await
        .refused(403, "client_token_required");
    server.post(&format!("/api/rooms/{}/users", world.room), &body).bearer(stranger).send().await.refused(403, "not_a_member");
    let room = json!({ "name": "x", "userId": world.member.id });
    server.post("/api/rooms", &room).bearer(stranger).send().await.refused(403, "not_yourself");
}
