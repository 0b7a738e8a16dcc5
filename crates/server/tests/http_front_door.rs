//! What surrounds every call: forms, headers, probes, the pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chatsphere::auth::Secret;
use chatsphere::http::{AllowedOrigins, HttpState, MetricsAccess, Readiness};
use serde_json::json;
use support::{Answer, Setup, TestServer, start};

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let server = start().await;
    for path in ["/nothing", "/api/nothing", "/api/users/", "/api/rooms/a/b/c", "/docs/nothing.js", "//", "/demo", "/.env"] {
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

    // Errors, too, must be readable by the page.
    let answer = server.get("/api/rooms").header("origin", "https://a.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let exposed = sorted(answer.header("access-control-expose-headers"));
    assert_eq!(exposed, "idempotency-replayed link ratelimit ratelimit-policy retry-after x-request-id");
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
async fn probes_tell_the_state() {
    struct Draining(Arc<AtomicBool>);
    impl Readiness for Draining {
        fn is_draining(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }
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
    // From this machine itself, from a page that a browser on it shows, through a proxy, and through one that doesn't say so.
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
    // It is good for nothing else.
    server.get("/api/rooms").bearer(secret).send().await.refused(401, "token_invalid");

    let open = with_metrics(MetricsAccess { token: None, public: true }).await;
    assert_eq!(open.get("/metrics").send().await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_documentation_loads_nothing_from_elsewhere() {
    let server = start().await;
    let document = server.get("/api/openapi.json").send().await.ok(200);
    assert_eq!(document["openapi"], "3.1.0");
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
    let answer = server.get("/panics").send().await;
    assert!(!answer.text().contains("on purpose"));
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
