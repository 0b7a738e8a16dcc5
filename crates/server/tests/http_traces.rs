//! Tests that a call writes a line to the log and changes two metrics, and that none of them contains anything that was sent.
//! The recorder and the subscriber are global to a process, so this test is alone in its program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use support::{Setup, TestServer};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_logged_and_counted_without_what_was_sent() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false).with_writer(move || writer.clone()).init();
    let recorder = PrometheusBuilder::new().install_recorder().unwrap();
    let render =
        Setup { adjust: Box::new(move |state| state.metrics = Arc::new(move || recorder.render())), ..Setup::default() };
    let server = TestServer::rest(render).await;

    let ada = server.user("sesame").await;
    let room = server.room("sesame", &ada).await;
    server.say(room, &ada, "sesame").await;
    let path = format!("/api/rooms/{room}/messages?token=sesame");
    server.get(&path).bearer(&ada.token).header("x-request-id", "request-1").send().await.ok(200);
    server
        .get("/not/here%20?sesame")
        .bearer("sesame")
        .header("x-request-id", "request-2")
        .send()
        .await
        .refused(404, "route_not_found");
    server.get("/api/users").bearer("sesame").header("x-request-id", "request-3").send().await.refused(401, "token_invalid");
    server.call("SESAME", "/api/users").key("sesame").send().await.refused(405, "method_not_allowed");
    server.post("/api/users", &json!({ "username": ["sesame"] })).client().send().await.invalid("username");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("request-1") && line.contains("answered")).expect("a line for the call");
    assert!(line.contains("/api/rooms/{roomId}/messages") && line.contains("status=200") && line.contains("ms="), "{line}");
    assert!(
        line.contains(&format!("user={}", ada.id)) && line.contains("token=") && line.contains("client=127.0.0.1"),
        "{line}"
    );
    let line = |id: &str| log.lines().find(|line| line.contains(id) && line.contains("answered")).expect("a line for the call");
    let unmatched = line("request-2");
    assert!(unmatched.contains("path=\"/not/here%20\"") && unmatched.contains("code=\"route_not_found\""), "{unmatched}");
    let refused = line("request-3");
    assert!(refused.contains("code=\"token_invalid\"") && refused.contains("client=127.0.0.1"), "{refused}");
    let line = line("request-1");
    let ms = line.split_once("ms=").unwrap().1.split(' ').next().unwrap();
    assert!(ms.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 2), "{line}");
    let metrics = server.get("/metrics").client().send().await.text();
    for counted in [
        r#"chatsphere_http_requests_total{method="GET",route="/api/rooms/{roomId}/messages",status="200"} 1"#,
        r#"chatsphere_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"chatsphere_http_requests_total{method="OTHER",route="/api/users",status="405"} 1"#,
    ] {
        assert!(metrics.contains(counted), "{counted}\n{metrics}");
    }
    for counted in [
        r#"chatsphere_errors_total{door="http",code="route_not_found"} 1"#,
        r#"chatsphere_authentications_refused_total{door="http",reason="token_invalid"} 1"#,
    ] {
        assert!(metrics.contains(counted), "{counted}\n{metrics}");
    }
    assert!(metrics.contains("chatsphere_http_request_seconds"));
    for (what, text) in [("log", &log), ("metrics", &metrics)] {
        for secret in ["sesame", "eyJ", &room.to_string()] {
            // Lines of other crates about their own connections are not checked.
            let line = text
                .lines()
                .filter(|line| !line.contains("hyper") && !line.contains("reqwest"))
                .find(|line| line.contains(secret));
            assert_eq!(line, None, "{what}");
        }
    }
}
