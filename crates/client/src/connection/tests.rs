//! Tests against a scripted server, for rare behaviour: connections lost at awkward times, duplicate frames, rejections.

use std::future::Future;
use std::time::Duration;

use chatsphere_protocol::close;
use chatsphere_protocol::frames::HelloLimits;
use chatsphere_types::{RoomId, Seq};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

use super::{ConnectOptions, Connection, ConnectionState, Cursor, Events, OutgoingMessage, Update};
use crate::{Client, EventKind, RequestError};

const USER: &str = "0198c0de-7c1a-7000-8000-0123456789ac";

/// The default limits of a server.
pub(super) fn limits() -> HelloLimits {
    HelloLimits {
        message_bytes: 32 * 1024,
        message_versions: 50,
        username_chars: 64,
        room_name_chars: 128,
        ref_bytes: 64,
        client_message_id_bytes: 64,
        frame_bytes: 64 * 1024,
        rooms_per_connection: 1_000,
        connections_per_user: 1_000,
        outbound_queue_bytes: 1 << 20,
        messages_per_second: 20,
        message_burst: 100,
        unanswered_sends: 64,
        replay_events: 10_000,
        largest_frame_bytes: 1 << 20,
        frames_per_second: 200,
        frame_burst: 2_000,
        pins_per_room: 100,
    }
}

struct Script {
    listener: TcpListener,
}

/// The server side of one connection.
struct Peer {
    stream: WebSocketStream<TcpStream>,
    authorization: String,
}

impl Script {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.listener.local_addr().unwrap()), "first").unwrap()
    }

    fn connect(&self) -> (Connection, Events) {
        self.client().connect(options())
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        let (request, stream) = ServerBuilder::new().accept(stream).await.unwrap();
        assert_eq!(request.uri().path(), "/ws");
        let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
        Peer { stream, authorization }
    }

    /// Accepts a connection and sends `hello`.
    async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.hello().await;
        peer
    }
}

impl Peer {
    async fn hello(&mut self) {
        self.send(json!({"type": "hello", "userId": USER, "connectionId": USER, "heartbeatMs": 25_000, "protocol": 1,
            "expiresAt": "2030-01-01T00:00:00.000Z", "limits": limits()}))
            .await;
    }

    async fn send(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn event(&mut self, seq: u64) {
        self.send(event(seq)).await;
    }

    /// The next frame, which must have this type.
    async fn expect(&mut self, kind: &str) -> Value {
        let message = soon(self.stream.next()).await.expect("the client hung up").unwrap();
        let frame: Value = serde_json::from_str(message.as_text().unwrap_or_else(|| panic!("{message:?}"))).unwrap();
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// Answers a join with a replay of everything after its `since`.
    async fn replay(&mut self, head: u64) -> Value {
        let join = self.expect("join").await;
        let since = join["since"].as_u64().unwrap();
        self.send(json!({"type": "join_confirmation", "roomId": room(), "seq": head, "epoch": "e1", "recovered": true,
            "ref": join["ref"]}))
            .await;
        self.page(&join, since + 1, head, false).await;
        join
    }

    async fn page(&mut self, join: &Value, from: u64, to: u64, more: bool) {
        let events: Vec<Value> = (from..=to).map(event).collect();
        self.send(json!({"type": "previous_messages", "roomId": room(), "messages": [], "events": events, "fromSeq": from,
            "toSeq": to, "more": more, "ref": join["ref"]}))
            .await;
    }

    async fn ack(&mut self, message: &Value, seq: u64) {
        self.send(json!({"type": "ack", "roomId": room(), "id": USER, "seq": seq, "createdAt": "2026-11-22T09:56:10.473Z",
            "clientMessageId": message["clientMessageId"], "ref": message["ref"]}))
            .await;
    }

    async fn close(mut self, code: u16, reason: &str) {
        let code = CloseCode::try_from(code).unwrap();
        self.stream.send(Message::close(Some(code), reason)).await.unwrap();
        let _ = timeout(Duration::from_secs(1), self.stream.next()).await;
    }
}

fn event(seq: u64) -> Value {
    let user = json!({"id": USER, "username": "ada"});
    json!({"type": "member_joined", "roomId": room(), "seq": seq, "user": user, "by": user,
        "createdAt": "2026-11-22T09:56:10.473Z"})
}

fn room() -> RoomId {
    RoomId::from_uuid("0198c0de-7c1a-7000-8000-0123456789ab".parse().unwrap())
}

fn options() -> ConnectOptions {
    ConnectOptions::default().backoff(Duration::from_millis(1), Duration::from_millis(20))
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(10), future).await.expect("it did not happen in time")
}

/// The first update that `pick` accepts.
async fn find<T>(events: &mut Events, mut pick: impl FnMut(Update) -> Option<T>) -> T {
    soon(async {
        loop {
            if let Some(found) = pick(events.recv().await.expect("the updates ended")) {
                return found;
            }
        }
    })
    .await
}

async fn seqs(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        seqs.push(find(events, |update| if let Update::Event(event) = update { Some(event.seq.get()) } else { None }).await);
    }
    seqs
}

async fn closed(events: &mut Events) -> (u16, String) {
    find(events, |update| if let Update::Closed { code, reason } = update { Some((code, reason)) } else { None }).await
}

#[tokio::test]
async fn a_lost_connection_resumes_where_it_was() {
    let script = Script::start().await;
    let (connection, mut events) = script.connect();
    let joining = connection.join_since(room(), Cursor::BEGINNING);
    let serving = async {
        let mut peer = script.welcome().await;
        peer.replay(2).await;
        peer.event(3).await;
        // A duplicate frame, one out of order, and an abrupt end.
        peer.event(3).await;
        peer.event(2).await;
        peer
    };
    let (joined, peer) = tokio::join!(joining, serving);
    assert_eq!((joined.unwrap().seq.get(), seqs(&mut events, 3).await), (2, vec![1, 2, 3]));
    drop(peer);

    // This time the connection fails between two pages.
    let mut peer = script.welcome().await;
    let join = peer.expect("join").await;
    assert_eq!((&join["since"], &join["epoch"]), (&json!(3), &json!("e1")));
    peer.send(
        json!({"type": "join_confirmation", "roomId": room(), "seq": 9, "epoch": "e1", "recovered": true, "ref": join["ref"]}),
    )
    .await;
    peer.page(&join, 4, 5, true).await;
    assert_eq!(seqs(&mut events, 2).await, [4, 5]);
    drop(peer);

    let mut peer = script.welcome().await;
    assert_eq!(peer.replay(9).await["since"], 5);
    peer.event(10).await;
    assert_eq!(seqs(&mut events, 5).await, [6, 7, 8, 9, 10]);
    assert_eq!(connection.cursor(room()).unwrap().seq.get(), 10);
}

#[tokio::test]
async fn a_gap_makes_it_join_again() {
    let script = Script::start().await;
    let (connection, mut events) = script.connect();
    let serving = async {
        let mut peer = script.welcome().await;
        peer.replay(1).await;
        peer.event(3).await;
        peer.expect("leave").await;
        // These were in transit.
        peer.event(4).await;
        assert_eq!(peer.replay(5).await["since"], 1);
        peer.event(6).await;
        peer
    };
    let (joined, _peer) = tokio::join!(connection.join_since(room(), Cursor::BEGINNING), serving);
    joined.unwrap();
    assert_eq!(seqs(&mut events, 6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_under_the_same_id() {
    let script = Script::start().await;
    let (connection, _events) = script.connect();
    let serving = async {
        let mut peer = script.welcome().await;
        let first = peer.expect("message").await;
        drop(peer);
        let mut peer = script.welcome().await;
        let second = peer.expect("message").await;
        assert_eq!(first["clientMessageId"], second["clientMessageId"]);
        assert_eq!(first["content"], "hello");
        peer.send(json!({"type": "error", "code": "rate_limited", "message": "slower", "retryable": true, "retryAfterMs": 20,
            "roomId": room(), "clientMessageId": second["clientMessageId"], "ref": second["ref"]}))
            .await;
        let third = peer.expect("message").await;
        assert_eq!(first["clientMessageId"], third["clientMessageId"]);
        peer.ack(&third, 7).await;
        let other = peer.expect("message").await;
        assert_eq!(other["clientMessageId"], "own");
        peer.send(json!({"type": "error", "code": "not_a_member", "message": "no", "retryable": false, "ref": other["ref"]}))
            .await;
        peer
    };
    let sending = async {
        assert_eq!(connection.send(room(), "hello").await.unwrap().seq.get(), 7);
        connection.send(room(), OutgoingMessage::new("x").client_message_id("own")).await
    };
    let (refused, _peer) = soon(async { tokio::join!(sending, serving) }).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.code == "not_a_member"));
}

#[tokio::test]
async fn what_is_refused_for_a_time_is_not_overtaken() {
    let script = Script::start().await;
    let (connection, _events) = script.connect();
    let serving = async {
        let mut peer = script.welcome().await;
        for seq in 1..=3 {
            let message = peer.expect("message").await;
            assert_eq!(message["content"], format!("message {seq}"));
            peer.send(
                json!({"type": "error", "code": "rate_limited", "message": "slower", "retryable": true, "retryAfterMs": 20,
                "roomId": room(), "clientMessageId": message["clientMessageId"], "ref": message["ref"]}),
            )
            .await;
            // A message that was already in flight would come first.
            let again = peer.expect("message").await;
            assert_eq!(again["clientMessageId"], message["clientMessageId"]);
            peer.ack(&again, seq).await;
        }
        peer
    };
    let send = async |n: u64| connection.send(room(), format!("message {n}")).await.unwrap().seq.get();
    let (one, two, three, _peer) = soon(async { tokio::join!(send(1), send(2), send(3), serving) }).await;
    assert_eq!([one, two, three], [1, 2, 3]);
}

#[tokio::test]
async fn a_code_that_says_so_ends_it_for_good() {
    let script = Script::start().await;
    let (connection, mut events) = script.connect();
    let peer = script.welcome().await;
    let sending = connection.send(room(), "x");
    let closing = async {
        tokio::task::yield_now().await;
        peer.close(close::TOKEN_INVALID, "token_revoked").await;
    };
    let (sent, ()) = soon(async { tokio::join!(sending, closing) }).await;
    assert_eq!(sent, Err(RequestError::Closed));
    assert_eq!(closed(&mut events).await, (close::TOKEN_INVALID, "token_revoked".to_owned()));
    assert_eq!(soon(events.recv()).await, None);
    assert_eq!(connection.join(room()).await, Err(RequestError::Closed));
    assert!(matches!(connection.state(), ConnectionState::Closed { code: close::TOKEN_INVALID, .. }));
}

#[tokio::test]
async fn what_a_newer_server_adds_is_passed_over() {
    let script = Script::start().await;
    let (connection, mut events) = script.connect();
    let serving = async {
        let mut peer = script.welcome().await;
        peer.send(json!({"type": "presence", "roomId": room(), "user": {"id": USER, "role": "READER"}})).await;
        let join = peer.replay(1).await;
        let mut joined = event(2);
        joined["user"]["role"] = json!("READER");
        peer.send(joined).await;
        peer.send(json!({"type": "pinned", "roomId": room(), "seq": 3, "ref": join["ref"]})).await;
        peer.send(json!({"type": "error", "code": "room_archived", "message": "m", "retryable": false, "hint": 1})).await;
        peer.send(json!({"type": "left", "roomId": room(), "reason": "archived"})).await;
        peer
    };
    let (joined, peer) = tokio::join!(connection.join_since(room(), Cursor::BEGINNING), serving);
    joined.unwrap();
    assert_eq!(seqs(&mut events, 2).await, [1, 2]);
    let kind = find(&mut events, |update| if let Update::Event(event) = update { Some(event.kind) } else { None }).await;
    assert!(matches!(kind, EventKind::Unknown { kind, .. } if kind == "pinned"));
    let code = find(&mut events, |update| if let Update::Error(error) = update { Some(error.code) } else { None }).await;
    assert_eq!(code, "room_archived");
    let reason = find(&mut events, |update| if let Update::Left { reason, .. } = update { Some(reason) } else { None }).await;
    assert_eq!(reason, "archived");

    // The range of an unknown close code says whether to connect again.
    peer.close(4042, "").await;
    script.welcome().await.close(4599, "archived").await;
    assert_eq!(closed(&mut events).await, (4599, "archived".to_owned()));
}

#[tokio::test]
async fn an_expired_token_is_renewed_by_the_provider() {
    let script = Script::start().await;
    let provider = || async { Ok("second".to_owned()) };
    let (connection, mut events) = script.client().connect(options().token_provider(provider));
    let peer = script.welcome().await;
    assert_eq!(peer.authorization, "Bearer first");
    peer.close(close::TOKEN_EXPIRED, "token_expired").await;
    let mut peer = script.welcome().await;
    assert_eq!(peer.authorization, "Bearer second");
    // A token that is set explicitly is sent over the open connection.
    connection.set_token("third").unwrap();
    let auth = peer.expect("auth").await;
    assert_eq!(auth["token"], "third");
    peer.send(json!({"type": "auth_ok", "userId": USER, "expiresAt": "2031-01-01T00:00:00.000Z", "ref": auth["ref"]})).await;
    find(&mut events, |update| matches!(update, Update::Authenticated { .. }).then_some(())).await;
}

#[tokio::test]
async fn an_expired_token_without_another_ends_it() {
    let script = Script::start().await;
    let (_connection, mut events) = script.connect();
    script.welcome().await.close(close::TOKEN_EXPIRED, "token_expired").await;
    assert_eq!(closed(&mut events).await.0, close::TOKEN_EXPIRED);
}

#[tokio::test]
async fn a_provider_whose_tokens_are_no_better_is_not_asked_for_ever() {
    let script = Script::start().await;
    let (_connection, mut events) = script.client().connect(options().token_provider(|| async { Ok("second".to_owned()) }));
    let refusing = async {
        loop {
            let (mut stream, _) = script.listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    };
    tokio::select! {
        (code, _) = closed(&mut events) => assert_eq!(code, close::TOKEN_INVALID),
        () = refusing => {}
    }
}

#[tokio::test]
async fn a_slow_application_holds_the_server_back() {
    let script = Script::start().await;
    let (connection, mut events) = script.client().connect(options().events(4));
    let (joined, mut peer) = tokio::join!(connection.join_since(room(), Cursor::BEGINNING), async {
        let mut peer = script.welcome().await;
        peer.replay(0).await;
        peer
    });
    joined.unwrap();
    let mut sent = 0;
    let padding = "x".repeat(10_000);
    loop {
        let mut event = event(sent + 1);
        event["padding"] = json!(padding);
        if timeout(Duration::from_millis(300), peer.send(event)).await.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < 10_000, "a hundred megabytes went somewhere");
    }
    // The timed-out frame is written in part: complete frames are delivered, the others after a resume.
    let whole = seqs(&mut events, usize::try_from(sent).unwrap()).await;
    assert_eq!(whole, (1..=sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_room_that_is_lost_is_reported() {
    let script = Script::start().await;
    let (connection, mut events) = script.connect();
    let serving = async {
        let mut peer = script.welcome().await;
        peer.replay(4).await;
        drop(peer);
        let mut peer = script.welcome().await;
        let join = peer.expect("join").await;
        peer.send(json!({"type": "join_confirmation", "roomId": room(), "seq": 2, "epoch": "e2", "recovered": false,
            "reason": "epoch_changed", "ref": join["ref"]}))
            .await;
        peer.page(&join, 1, 2, false).await;
        peer.send(json!({"type": "left", "roomId": room(), "reason": "removed"})).await;
        peer.event(3).await;
        peer
    };
    let (joined, _peer) = tokio::join!(connection.join_since(room(), Cursor::BEGINNING), serving);
    joined.unwrap();
    assert_eq!(seqs(&mut events, 4).await, [1, 2, 3, 4]);
    let before = find(&mut events, |update| if let Update::NotRecovered { before, .. } = update { Some(before) } else { None });
    assert_eq!(before.await.seq, Seq::new(4));
    assert_eq!(seqs(&mut events, 2).await, [1, 2]);
    let reason = find(&mut events, |update| if let Update::Left { reason, .. } = update { Some(reason) } else { None }).await;
    assert_eq!(reason, "removed");
    assert_eq!(connection.cursor(room()).unwrap().seq, Seq::new(2));
}

#[tokio::test]
async fn dropping_the_handle_closes_the_socket() {
    let script = Script::start().await;
    let (connection, mut events) = script.connect();
    let mut peer = script.welcome().await;
    find(&mut events, |update| matches!(update, Update::Connected { .. }).then_some(())).await;
    drop(connection);
    let message = soon(peer.stream.next()).await.unwrap().unwrap();
    assert_eq!(message.as_close().unwrap().0, CloseCode::NORMAL_CLOSURE);
    drop(peer);
    soon(async { while events.recv().await.is_some() {} }).await;
}

#[tokio::test]
async fn without_a_listener_messages_still_go() {
    let script = Script::start().await;
    let (connection, events) = script.client().connect(options().events(1));
    drop(events);
    let serving = async {
        let mut peer = script.welcome().await;
        peer.replay(100).await;
        let message = peer.expect("message").await;
        peer.ack(&message, 101).await;
        peer
    };
    let sending = async {
        connection.join_since(room(), Cursor::BEGINNING).await.unwrap();
        connection.send(room(), "x").await.unwrap()
    };
    let (ack, _peer) = soon(async { tokio::join!(sending, serving) }).await;
    assert_eq!(ack.seq.get(), 101);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let script = Script::start().await;
    let (_connection, mut events) = script.connect();
    let mut peer = script.welcome().await;
    find(&mut events, |update| matches!(update, Update::Connected { .. }).then_some(())).await;
    tokio::time::pause();
    let update = events.recv().await;
    assert!(matches!(&update, Some(Update::Reconnecting { reason, .. }) if reason.contains("silent")), "{update:?}");
    // It had been sent a ping.
    peer.expect("ping").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let script = Script::start().await;
    let address = script.listener.local_addr().unwrap();
    drop(script);
    let client = Client::new(&format!("http://{address}"), "first").unwrap();
    let (connection, mut events) = client.connect(options());
    for _ in 0..3 {
        find(&mut events, |update| matches!(update, Update::Reconnecting { .. }).then_some(())).await;
    }
    let script = Script { listener: TcpListener::bind(address).await.unwrap() };
    let (joined, _peer) = tokio::join!(connection.join_since(room(), Cursor::BEGINNING), async {
        let mut peer = script.welcome().await;
        peer.replay(0).await;
        peer
    });
    assert_eq!(joined.unwrap().seq, Seq::ZERO);
}

#[tokio::test]
async fn the_wait_that_the_server_asks_for_is_kept() {
    let script = Script::start().await;
    let (_connection, mut events) = script.connect();
    // Once after `hello`, and once in its place.
    for says_hello in [true, false] {
        let mut peer = if says_hello { script.welcome().await } else { script.accept().await };
        peer.send(json!({"type": "closing", "code": 1001, "retryAfterMs": 300})).await;
        peer.close(close::GOING_AWAY, "").await;
        let after = loop {
            if let Update::Reconnecting { after, .. } = soon(events.recv()).await.expect("an update") {
                break after;
            }
        };
        assert!((300..=375).contains(&after.as_millis()), "{after:?}");
    }
    // A connection that ends without it is not affected by the earlier delay.
    drop(script.accept().await);
    while !matches!(soon(events.recv()).await, Some(Update::Reconnecting { after, .. }) if after.as_millis() <= 20) {}
}
