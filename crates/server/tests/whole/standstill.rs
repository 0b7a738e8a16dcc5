//! Tests that a suspended process reads the data that arrived meanwhile before its time-outs apply.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::server::Server;

const AMPLE: Duration = Duration::from_secs(60);
/// The duration of the suspension. It is longer than the heartbeat of a second with 10 s of silence after it, than the 5 s to
/// authenticate, and than the time-out of a request's head.
const STANDSTILL: Duration = Duration::from_secs(14);

type Socket = WebSocketStream<TcpStream>;

async fn connect(server: &Server, token: &str) -> Socket {
    let address = server.url().replace("http://", "");
    let builder = ClientBuilder::new().uri(&format!("ws://{address}/ws")).unwrap();
    let builder = builder.add_header(http_header(), format!("Bearer {token}").parse().unwrap()).unwrap();
    let (socket, _) = builder.connect_on(TcpStream::connect(address).await.unwrap()).await.unwrap();
    socket
}

fn http_header() -> axum::http::HeaderName {
    axum::http::header::AUTHORIZATION
}

async fn read(socket: &mut Socket) -> Value {
    loop {
        let message = timeout(AMPLE, socket.next()).await.expect("nothing came").expect("the connection ended").unwrap();
        if let Some(text) = message.as_text() {
            return serde_json::from_str(text).unwrap();
        }
        assert!(message.as_close().is_none(), "{message:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stood_still_drops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let environment = [("CHATSPHERE_HEARTBEAT", "1s".to_owned()), ("CHATSPHERE_HEADER_TIMEOUT", "5s".to_owned())];
    let server = Server::start(&data, 0, &environment).await;
    let token = tokio::fs::read_to_string(data.join("client-token")).await.unwrap().trim().to_owned();
    let address = server.url().replace("http://", "");

    let mut sockets = Vec::new();
    for _ in 0..30 {
        let mut socket = connect(&server, &token).await;
        assert_eq!(read(&mut socket).await["type"], "hello");
        sockets.push(socket);
    }
    // A connection that has not sent its token yet, and an incomplete request.
    let builder = ClientBuilder::new().uri(&format!("ws://{address}/ws")).unwrap();
    let (mut unknown, _) = builder.connect_on(TcpStream::connect(&address).await.unwrap()).await.unwrap();
    let mut request = TcpStream::connect(&address).await.unwrap();
    request.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").await.unwrap();

    server.signal("STOP").await;
    for (n, socket) in sockets.iter_mut().enumerate() {
        // Half of the clients send a frame, the others nothing.
        if n % 2 == 0 {
            socket.send(Message::text(json!({ "type": "ping", "ref": "meanwhile" }).to_string())).await.unwrap();
        }
    }
    unknown.send(Message::text(json!({ "type": "auth", "token": token }).to_string())).await.unwrap();
    request.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    sleep(STANDSTILL).await;
    server.signal("CONT").await;

    // Its time-out did not apply. Until the control log has been read again, the server asks it to retry.
    let first = read(&mut unknown).await;
    assert!(first["type"] == "hello" || first["code"] == "authority_stale", "{first}");
    let mut answer = String::new();
    timeout(AMPLE, request.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for (n, socket) in sockets.iter_mut().enumerate() {
        if n % 2 == 0 {
            let pong = read(socket).await;
            assert!(pong["ref"] == "meanwhile", "{pong}");
        }
        // Until the control log has been read again, no frame is executed.
        loop {
            socket.send(Message::text(json!({ "type": "ping", "ref": "after" }).to_string())).await.unwrap();
            let answer = read(socket).await;
            if answer["type"] == "pong" {
                break;
            }
            assert_eq!((&answer["code"], &answer["retryable"]), (&json!("authority_stale"), &json!(true)));
        }
    }
    server.stop(Duration::from_secs(15)).await;
}
