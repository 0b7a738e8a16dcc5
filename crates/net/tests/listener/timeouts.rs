use std::time::Duration;

use chatsphere_net::listener::ListenerOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::support::{AMPLE, GET, LONG, SHORT, app, early_error, patient, read_to_end, read_until, start, time_to_close};

#[tokio::test]
async fn a_head_that_never_comes_is_not_waited_for() {
    let server = start(app(), ListenerOptions { header_timeout: SHORT, ..patient() }).await;
    let waited = time_to_close(&mut server.connect().await).await;
    assert!(waited >= SHORT, "{waited:?}");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_with_408() {
    let server = start(app(), ListenerOptions { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    let start = Instant::now();
    let (mut read, mut write) = tcp.split();
    let drip = async {
        for byte in GET.iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    let text = tokio::select! {
        text = read_to_end(&mut read) => text,
        () = drip => panic!("cut without an answer"),
    };
    assert_eq!(early_error(&text, 408), "HeadLate");
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_later_head_has_as_little_time_as_the_first() {
    let server = start(app(), ListenerOptions { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(GET).await.unwrap();
    read_until(&mut tcp, "hello").await;
    // Idle for longer than the timeout of a head.
    tokio::time::sleep(SHORT * 2).await;
    tcp.write_all(GET).await.unwrap();
    read_until(&mut tcp, "hello").await;
    tcp.write_all(b"GET / HT").await.unwrap();
    assert_eq!(early_error(&read_to_end(&mut tcp).await, 408), "HeadLate");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_time_and_not_before() {
    let server = start(app(), ListenerOptions { header_timeout: SHORT / 2, idle_timeout: SHORT * 3, ..patient() }).await;
    let mut tcp = server.connect().await;
    for _ in 0..2 {
        tcp.write_all(GET).await.unwrap();
        read_until(&mut tcp, "hello").await;
        tokio::time::sleep(SHORT).await;
    }
    assert_eq!(read_to_end(&mut tcp).await, "", "an idle connection is closed without a word");
}

#[tokio::test]
async fn a_handler_may_take_longer_than_any_time_out() {
    let all = SHORT / 2;
    let brief = ListenerOptions { header_timeout: all, idle_timeout: all, write_timeout: all, body_timeout: all, ..patient() };
    let server = start(app(), brief).await;
    let text = server.exchange(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(text.ends_with("slow"), "{text}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let server = start(app(), ListenerOptions { write_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Nothing is read until the server has timed out; the drain sees the task end.
    tokio::time::sleep(SHORT).await;
    assert!(server.handle.drained(AMPLE).await);
    assert!(time_to_close(&mut tcp).await < AMPLE);
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_borne_with() {
    let server = start(app(), ListenerOptions { write_timeout: SHORT * 5, idle_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 2 * 1024 * 1024];
    let mut received = 0;
    while received < 64 * 1024 * 1024 {
        let read = timeout(AMPLE, tcp.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "cut off after {received} bytes");
        received += read;
        if received < 8 * 1024 * 1024 {
            tokio::time::sleep(SHORT).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    let server = start(app(), ListenerOptions { body_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    let start = Instant::now();
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome").await.unwrap();
    let text = read_to_end(&mut tcp).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_body_that_comes_drop_by_drop_is_not_waited_for() {
    let server = start(app(), ListenerOptions { body_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = tcp.split();
    let drip = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
        std::future::pending::<()>().await;
    };
    let text = tokio::select! {
        text = read_to_end(&mut read) => text,
        () = drip => unreachable!(),
    };
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
}

#[tokio::test]
async fn a_body_that_keeps_coming_earns_its_time() {
    let server = start(app(), ListenerOptions { body_timeout: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 65536\r\n\r\n").await.unwrap();
    for _ in 0..8 {
        tcp.write_all(&[b'x'; 8192]).await.unwrap();
        tokio::time::sleep(SHORT / 2).await;
    }
    let text = read_to_end(&mut tcp).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("xxx"), "{}", &text[..100]);
}

#[tokio::test]
async fn a_time_out_of_nothing_is_no_busy_loop() {
    let server = start(app(), ListenerOptions { header_timeout: Duration::ZERO, idle_timeout: LONG, ..patient() }).await;
    assert!(time_to_close(&mut server.connect().await).await < AMPLE);
}
