//! Tests of the parts common to all calls: error bodies, headers, probes, embedded pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chatsphere::auth::Secret;
use chatsphere::http::{HttpState, MetricsAccess, Readiness};
use chatsphere::request::AllowedOrigins;
use serde_json::json;
use support::{Answer, ROUTES, Setup, TestServer, World, start};

#[tokio::test]
async fn unknown_paths_and_methods() {
    let server = start().await;
    for path in [
        "/nothing",
        "/api/nothing",
        "/api/users//",
        "/api//users",
        "/api/rooms/a/b/c",
        "/docs/nothing.js",
        "//",
        "/demo",
        "/.env",
    ] {
        let answer = server.get(path).client().send().await;
        answer.refused(404, "route_not_found");
    }
    for (method, path, allowed) in [
        ("POST", "/api/health", "GET,HEAD"),
        ("DELETE", "/api/users", "GET,HEAD,POST"),
        ("PUT", "/api/rooms", "GET,HEAD,POST"),
        ("TRACE", "/api/messages", "GET,HEAD"),
        ("BREW", "/api/tokens/user", "POST"),
        ("POST", "/", "GET,HEAD"),
    ] {
        let answer = server.call(method, path).client().send().await;
        let mut found: Vec<&str> = answer.header("allow").expect("Allow").split(',').map(str::trim).collect();
        found.sort_unstable();
        assert_eq!(found.join(","), allowed, "{method} {path}");
        answer.refused(405, "method_not_allowed");
    }
    let head = server.call("HEAD", "/api/health").send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert!(server.get("/").send().await.text().contains("/docs"));
}

/// The same handler answers a path with a trailing slash, without a redirect.
#[tokio::test]
async fn a_trailing_slash_is_tolerated() {
    let metrics = chatsphere::observability::metrics::install_metrics();
    let server = start().await;
    let world = World::new(&server).await;
    for (number, route) in ROUTES.iter().enumerate() {
        let target = route.target(&server, &world, number).await;
        let call = server.call(route.method, &format!("{}/", route.path_for(&target))).client();
        let answer = match route.body {
            Some(body) => call.json(&body(&target)).send().await,
            None => call.send().await,
        };
        assert!(answer.status.is_success(), "{}: {}", route.name(), answer.text());
        let twice = server.call(route.method, &format!("{}//", route.path_for(&target))).client().send().await;
        twice.refused(404, "route_not_found");
    }
    for path in ["/docs/", "/demo/"] {
        assert!(matches!(server.get(path).send().await.status.as_u16(), 200 | 404), "{path}");
    }
    let history = format!("/api/rooms/{}/messages", world.room);
    for content in ["one", "two"] {
        server.say(world.room, &world.owner, content).await;
    }
    let answer = server.get(&format!("{history}/?limit=1")).client().send().await;
    assert_eq!(answer.links()["prev"], format!("{history}?limit=1&before={}", answer.json()[0]["seq"]));
    server.call("PATCH", "/api/rooms/").client().send().await.refused(405, "method_not_allowed");
    assert_eq!(server.call("HEAD", "/api/health/").send().await.status.as_u16(), 200);
    // By both paths it is the same call, so the second is a replay.
    let body = json!({ "name": "a" });
    let first = server.post("/api/rooms", &body).client().key("k").send().await.ok(201);
    let second = server.post("/api/rooms/", &body).client().key("k").send().await.ok(201);
    assert_eq!(first["id"], second["id"]);
    let text = metrics.render();
    assert!(text.contains("route=\"/api/rooms/{roomId}/messages\"") && !text.contains("/messages/\""), "{text}");
}

/// OPTIONS requests (RFC 9110, section 9.3.7): those of load balancers are answered like GET, all others with the allowed
/// methods.
#[tokio::test]
async fn options_is_a_call_unless_it_is_a_preflight() {
    let draining = Arc::new(AtomicBool::new(false));
    let readiness = Arc::new(Draining(draining.clone()));
    let server =
        TestServer::rest(Setup { adjust: Box::new(move |state| state.readiness = readiness), ..Setup::default() }).await;
    let options = |path: &str| server.call("OPTIONS", path);
    let asked = async |path: &str| {
        let answer = options(path).send().await;
        let status = answer.status.as_u16();
        (status, answer.header("allow").unwrap_or_default().to_owned(), answer)
    };
    for ready in [true, false] {
        draining.store(!ready, Ordering::SeqCst);
        for path in ["/readyz", "/readyz/", "/"] {
            let (status, allow, answer) = asked(path).await;
            match ready {
                true => assert_eq!((status, allow.as_str(), answer.body.len()), (204, "GET,HEAD", 0), "{path}"),
                false => drop(answer.refused(503, "stopping")),
            }
        }
        let head = server.call("HEAD", "/readyz").send().await;
        assert_eq!(head.status.as_u16(), if ready { 200 } else { 503 });
        // The first is HAProxy's default, and the last is about the server as a whole.
        for request in ["OPTIONS /readyz HTTP/1.0", "OPTIONS / HTTP/1.0", "OPTIONS * HTTP/1.1"] {
            let answer = raw(&server, &format!("{request}\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
            assert_eq!(answer.get(9..12), Some(if ready { "204" } else { "503" }), "{request}: {answer}");
        }
        // A request with only one of a preflight's headers is not a preflight.
        for (name, value) in [("origin", "https://a.example"), ("access-control-request-method", "GET")] {
            let answer = options("/readyz").header(name, value).send().await;
            assert_eq!(answer.status.as_u16(), if ready { 204 } else { 503 }, "{name}");
        }
        for (path, allowed) in [("/livez", "GET,HEAD"), ("/api/health", "GET,HEAD"), ("/metrics", "GET,HEAD")] {
            let (status, allow, _) = asked(path).await;
            assert_eq!((status, allow.as_str()), (204, allowed), "{path}");
        }
    }
    draining.store(false, Ordering::SeqCst);
    let (status, allow, _) = asked("/api/rooms").await;
    let mut allow: Vec<&str> = allow.split(',').collect();
    allow.sort_unstable();
    assert_eq!((status, allow.join(",").as_str()), (204, "GET,HEAD,POST"));
    asked("/api/nothing").await.2.refused(404, "route_not_found");
    let preflight = preflight(&server).await;
    assert_eq!(preflight.status.as_u16(), 200);
    assert!(preflight.header("x-request-id").is_some());
    let failed: usize = 2 * (3 + 1 + 2) / 2;
    server.expect_faults(failed);
}

/// Sends the bytes of a request unchanged.
async fn raw(server: &TestServer, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

struct Draining(Arc<AtomicBool>);

impl Readiness for Draining {
    fn is_draining(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_request_has_an_id() {
    let server = start().await;
    let answer = server.get("/api/health").header("x-request-id", "abc.DEF_1-2").send().await;
    assert_eq!(answer.header("x-request-id"), Some("abc.DEF_1-2"));
    let mut seen = std::collections::HashSet::new();
    for bad in ["", "a b", "a;b", "<script>", &"x".repeat(65)] {
        let answer = server.get("/api/nothing").header("x-request-id", bad).send().await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(id != bad && id.len() == 32, "{id}");
        answer.problem();
        assert!(seen.insert(id));
    }
}

async fn preflight(server: &TestServer) -> Answer {
    let call = server.call("OPTIONS", "/api/rooms").header("origin", "https://a.example");
    let call = call.header("access-control-request-method", "POST");
    call.header("access-control-request-headers", "authorization,content-type,idempotency-key,x-request-id").send().await
}

#[tokio::test]
async fn any_page_may_call_unless_origins_are_named() {
    let server = start().await;
    let sorted = |text: Option<&str>| {
        let mut names: Vec<String> = text.unwrap_or_default().split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        names.sort();
        names.join(" ")
    };
    let answer = preflight(&server).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert!(sorted(answer.header("vary")).contains("origin"));
    assert_eq!(sorted(answer.header("access-control-allow-methods")), "delete get patch post put");
    let headers = sorted(answer.header("access-control-allow-headers"));
    assert_eq!(headers, "authorization content-type idempotency-key x-request-id x-requested-with");
    assert_eq!(answer.header("access-control-max-age"), Some("7200"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));

    // The page must also be able to read errors.
    let answer = server.get("/api/rooms").header("origin", "https://a.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let exposed = sorted(answer.header("access-control-expose-headers"));
    assert_eq!(exposed, "idempotency-replayed link ratelimit ratelimit-policy retry-after room-seq x-request-id");
    answer.refused(401, "token_missing");

    let setup = Setup {
        adjust: Box::new(|state| {
            state.origins = AllowedOrigins::List(vec!["https://a.example".parse().unwrap()]);
        }),
        ..Setup::default()
    };
    let server = TestServer::rest(setup).await;
    assert_eq!(preflight(&server).await.header("access-control-allow-origin"), Some("https://a.example"));
    let other = server.get("/api/health").header("origin", "https://b.example").send().await;
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn probes_report_the_state() {
    let draining = Arc::new(AtomicBool::new(false));
    let readiness = Arc::new(Draining(draining.clone()));
    let server =
        TestServer::rest(Setup { adjust: Box::new(move |state| state.readiness = readiness), ..Setup::default() }).await;
    for path in ["/api/health", "/livez", "/readyz"] {
        assert_eq!(server.get(path).send().await.ok(200)["status"], "ok");
    }
    draining.store(true, Ordering::SeqCst);
    let answer = server.get("/readyz").send().await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.refused(503, "stopping");
    server.get("/livez").send().await.ok(200);
    server.get("/api/health").send().await.ok(200);
    draining.store(false, Ordering::SeqCst);
    server.get("/readyz").send().await.ok(200);

    server.backend.chat.store.close().await;
    let answer = server.get("/api/rooms").client().send().await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!((answer.status.as_u16(), answer.problem().is_empty()), (503, false));
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    server.get("/readyz").send().await.refused(503, "store_away");
    server.get("/livez").send().await.ok(200);
    server.expect_faults(3);
}

/// A server whose metrics are `up 1`.
async fn with_metrics(access: MetricsAccess) -> TestServer {
    let adjust = Box::new(move |state: &mut HttpState| {
        state.metrics = Arc::new(|| "up 1\n".to_owned());
        state.metrics_access = access;
    });
    TestServer::rest(Setup { adjust, ..Setup::default() }).await
}

#[tokio::test]
async fn metrics_are_for_the_privileged() {
    let server = with_metrics(MetricsAccess::default()).await;
    let ada = server.user("ada").await;
    let writer = server.token(server.admin_id, json!({ "permissions": { "write": true } })).await;
    // Requests from this machine itself, from a page in a browser on it, through a proxy, and through a proxy that does not say
    // that it is one.
    for header in
        [None, Some(("origin", "https://evil.example")), Some(("origin", "null")), Some(("x-forwarded-for", "203.0.113.9"))]
    {
        let call = || header.iter().fold(server.get("/metrics"), |call, (name, value)| call.header(name, value));
        call().send().await.refused(401, "token_missing");
        call().bearer("x").send().await.refused(401, "token_invalid");
        call().bearer(&ada.token).send().await.refused(403, "client_token_required");
        call().bearer(&writer.token).send().await.refused(403, "needs_read");
        let answer = call().client().send().await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "up 1\n"));
        assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    }
}

#[tokio::test]
async fn metrics_have_a_token_of_their_own_or_are_open() {
    let secret = "a-token-for-metrics-0123456789abcdef";
    let token = Secret::parse("it", secret).ok();
    let server = with_metrics(MetricsAccess { token, public: false }).await;
    assert_eq!(server.get("/metrics").bearer(secret).send().await.status.as_u16(), 200);
    assert_eq!(server.get("/metrics").client().send().await.status.as_u16(), 200);
    server.get("/metrics").send().await.refused(401, "token_missing");
    for wrong in [&secret[1..], &format!("{secret}x"), ""] {
        assert_eq!(server.get("/metrics").bearer(wrong).send().await.status.as_u16(), 401, "{wrong}");
    }
    // The token is valid for nothing else.
    server.get("/api/rooms").bearer(secret).send().await.refused(401, "token_invalid");

    let open = with_metrics(MetricsAccess { token: None, public: true }).await;
    assert_eq!(open.get("/metrics").send().await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_documentation_loads_nothing_from_elsewhere() {
    let server = start().await;
    let document = server.get("/api/openapi.json").send().await.ok(200);
    assert_eq!(document["openapi"], "3.1.0");
    let frames = server.get("/api/frames.schema.json").send().await.ok(200);
    assert_eq!(frames["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(
        document["paths"]["/api/rooms/{roomId}/messages"]["post"]["responses"]["201"]["content"]["application/json"]["example"]
            .is_object()
    );
    assert_eq!(server.get("/docs").send().await.header("location"), Some("/docs/"));
    let page = server.get("/docs/").send().await;
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    let mut files = vec!["swagger-initializer.js".to_owned()];
    for attribute in
        page.text().split(['"', '\'']).filter(|text| text.ends_with(".js") || text.ends_with(".css") || text.ends_with(".png"))
    {
        assert!(!attribute.contains("//"), "{attribute}");
        files.push(attribute.trim_start_matches("./").to_owned());
    }
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let answer = server.get(&format!("/docs/{file}")).send().await;
        assert_eq!(answer.status.as_u16(), 200, "{file}");
    }
    let config = server.get("/docs/swagger-initializer.js").send().await.text();
    assert!(config.contains("/api/openapi.json") && config.contains("validatorUrl"), "{config}");
    assert!(!config.contains("https://"), "{config}");
}

#[tokio::test]
async fn a_panic_is_a_problem_like_any_other() {
    async fn panics() {
        panic!("on purpose")
    }
    let setup = Setup { before: Box::new(|routes| routes.route("/panics", axum::routing::get(panics))), ..Setup::default() };
    let server = TestServer::rest(setup).await;
    let answer = server.get("/panics").header("origin", "https://a.example").send().await;
    assert!(!answer.text().contains("on purpose"));
    // The page that called can read it, too.
    assert!(answer.header("access-control-allow-origin").is_some());
    answer.refused(500, "internal");
    server.get("/api/health").send().await.ok(200);
    server.expect_faults(1);
}

#[tokio::test]
async fn nothing_sent_is_repeated() {
    let server = start().await;
    for body in
        [json!({ "username": ["sesame"] }), json!({ "username": "sesame", "role": "sesame" }), json!({ "sesame": "sesame" })]
    {
        let answer = server.post("/api/users?token=sesame", &body).client().send().await;
        assert!(!answer.text().contains("sesame"), "{}", answer.text());
        answer.problem();
    }
    let answer = server.get("/sesame?sesame").bearer("sesame").send().await;
    assert!(!answer.text().contains("sesame"), "{}", answer.text());
}
