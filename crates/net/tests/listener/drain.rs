use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::{AMPLE, GET, LONG, SHORT, app, patient, read_to_end, read_until, start};

#[tokio::test]
async fn requests_in_flight_are_answered_and_idle_connections_closed() {
    let server = start(app(), patient()).await;
    let mut idle = server.connect().await;
    idle.write_all(GET).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut unused = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(SHORT).await;

    server.shutdown.cancel();
    let (all, idle, unused, busy) =
        tokio::join!(server.handle.drained(AMPLE), read_to_end(&mut idle), read_to_end(&mut unused), read_to_end(&mut busy));
    assert!(all);
    assert_eq!((&*idle, &*unused), ("", ""));
    assert!(busy.ends_with("slow") && busy.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{busy}");
}

#[tokio::test]
async fn nothing_is_accepted_any_more() {
    let server = start(app(), patient()).await;
    drop(server.connect().await);
    assert!(server.handle.drained(AMPLE).await);
    let refused = timeout(AMPLE, async {
        while TcpStream::connect(server.addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    refused.await.expect("the listening socket stays open");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let server = start(app(), patient()).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    tokio::time::sleep(SHORT).await;
    let start = Instant::now();
    assert!(!server.handle.drained(SHORT).await);
    assert!(start.elapsed() >= SHORT && start.elapsed() < LONG);
    assert_eq!(read_to_end(&mut stuck).await, "");
}
