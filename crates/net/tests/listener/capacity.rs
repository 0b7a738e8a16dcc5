use std::time::Duration;

use chatsphere_net::listener::{ListenerOptions, raise_descriptor_limit};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::support::{AMPLE, GET, app, early_error, patient, read_to_end, read_until, start};

#[tokio::test]
async fn a_full_listener_says_so_and_recovers() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let server = start(app(), ListenerOptions { connections: 2, ..patient() }).await;
    assert_eq!(server.handle.capacity(), 2);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut tcp = server.connect().await;
        tcp.write_all(GET).await.unwrap();
        read_until(&mut tcp, "hello").await;
        held.push(tcp);
    }
    let text = server.exchange(GET).await;
    assert_eq!(early_error(&text, 503), "Full");
    assert!(metrics.render().contains("chatsphere_connections_refused_total{reason=\"full\"}"));

    // Another client, which does not expect an answer before its request.
    let refused = reqwest::get(format!("http://{}/", server.addr)).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.text().await.unwrap(), "Full");

    let mut first = held.remove(0);
    first.write_all(GET).await.unwrap();
    read_until(&mut first, "hello").await;
    drop(first);
    let text = timeout(AMPLE, async {
        loop {
            let text = server.exchange(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            if text.starts_with("HTTP/1.1 200 ") {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the place that became free was not given again");
    assert!(text.ends_with("hello"));
}

#[tokio::test]
async fn a_silent_client_that_is_refused_is_told_too() {
    let server = start(app(), ListenerOptions { connections: 1, ..patient() }).await;
    let mut held = server.connect().await;
    held.write_all(GET).await.unwrap();
    read_until(&mut held, "hello").await;
    // More than may linger at once.
    let mut refused = Vec::new();
    for _ in 0..100 {
        refused.push(server.connect().await);
    }
    for mut tcp in refused {
        let text = read_to_end(&mut tcp).await;
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    }
    held.write_all(GET).await.unwrap();
    read_until(&mut held, "hello").await;
}

#[tokio::test]
async fn the_limit_of_open_files_bounds_the_connections() {
    let limit = raise_descriptor_limit();
    let server = start(app(), ListenerOptions { connections: usize::MAX >> 8, ..patient() }).await;
    if let Some(limit) = limit {
        assert!((server.handle.capacity() as u64) < limit);
    }
}
