//! A WebSocket client for tests.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::support::{hold_client_frame, hold_server_frame};

/// The time-out of each step. It is far above what a step takes, so that a busy machine fails no test.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
    asked: usize,
    /// Sent frames without an answer, by their `ref`.
    unanswered: HashMap<String, Value>,
    /// Frames that arrived while another was awaited.
    early: VecDeque<Value>,
    pub(crate) hello: Value,
}

/// The next thing that is received.
#[derive(Debug, PartialEq)]
pub(crate) enum Got {
    Frame(Value),
    Close(u16, String),
    /// The connection ended.
    End,
}

/// The answer to a join.
pub(crate) struct Joined {
    pub(crate) confirmation: Value,
    pub(crate) pages: Vec<Value>,
}

impl Client {
    /// Opens a connection without reading anything.
    pub(crate) async fn open(addr: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let mut builder = ClientBuilder::new().uri(&format!("ws://{addr}{path}")).expect("an address");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            builder = builder.add_header(HeaderName::from_static(name), value).expect("a header");
        }
        let socket = TcpStream::connect(addr).await.expect("a connection");
        let (stream, _) = timeout(AMPLE, builder.connect_on(socket)).await.expect("an answer").expect("an upgrade");
        Self { stream, asked: 0, unanswered: HashMap::new(), early: VecDeque::new(), hello: Value::Null }
    }

    pub(crate) async fn connect(addr: SocketAddr, token: &str) -> Self {
        Self::connect_at(addr, "/ws", token).await
    }

    pub(crate) async fn connect_at(addr: SocketAddr, path: &str, token: &str) -> Self {
        let mut client = Self::open(addr, path, &[("authorization", &format!("Bearer {token}"))]).await;
        client.hello = client.expect("hello").await;
        client
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        let text = self.held(frame);
        self.send_text(&text).await;
    }

    /// Sends a text that need not be a frame.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text.to_owned())).await.expect("an open connection");
    }

    /// Buffers a frame; [`Client::flush`] sends it.
    pub(crate) async fn feed(&mut self, frame: Value) {
        let text = self.held(frame);
        self.stream.feed(Message::text(text)).await.expect("an open connection");
    }

    pub(crate) async fn flush(&mut self) {
        self.stream.flush().await.expect("an open connection");
    }

    /// Returns a frame's text, and validates it against the schema: a frame with a `ref` once the server has accepted it,
    /// another at once.
    fn held(&mut self, frame: Value) -> String {
        let text = frame.to_string();
        match frame["ref"].as_str() {
            Some(reference) => drop(self.unanswered.insert(reference.to_owned(), frame)),
            None => hold_client_frame(&frame),
        }
        text
    }

    async fn read(&mut self) -> Got {
        loop {
            let message = match timeout(AMPLE, self.stream.next()).await.expect("nothing came") {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => return Got::End,
            };
            if let Some(text) = message.as_text() {
                let frame: Value = serde_json::from_str(text).expect("JSON");
                hold_server_frame(&frame);
                let asked = frame["ref"].as_str().and_then(|reference| self.unanswered.remove(reference));
                if let Some(asked) = asked.filter(|_| frame["type"] != "error") {
                    hold_client_frame(&asked);
                }
                return Got::Frame(frame);
            }
            if let Some((code, reason)) = message.as_close() {
                return Got::Close(code.into(), reason.to_owned());
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Got {
        match self.early.pop_front() {
            Some(frame) => Got::Frame(frame),
            None => self.read().await,
        }
    }

    /// Returns the next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Got::Frame(frame) => frame,
            other => panic!("no frame but {other:?}"),
        }
    }

    /// Returns the next frame, which must have this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// Returns the frames up to the next of this type.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            let is_last = frame["type"] == kind;
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    /// Returns the next frame, if one arrives within this time.
    pub(crate) async fn within(&mut self, patience: Duration) -> Option<Value> {
        timeout(patience, self.frame()).await.ok()
    }

    /// Returns the next frame, which must be an error with this code.
    pub(crate) async fn refused(&mut self, code: &str) -> Value {
        let frame = self.expect("error").await;
        assert_eq!(frame["code"], code, "{frame}");
        frame
    }

    /// Asserts that the next thing is a close with this code, and then the end. If the client should wait before it reconnects,
    /// a frame before the close must say how long.
    pub(crate) async fn closed(&mut self, code: u16) -> String {
        if crate::raw::WAITS.contains(&code) {
            let closing = self.expect("closing").await;
            assert_eq!(closing["code"], code, "{closing}");
            assert!(number(&closing["retryAfterMs"]) > 0, "{closing}");
        }
        match self.next().await {
            Got::Close(found, reason) if found == code => {
                assert_eq!(self.next().await, Got::End);
                reason
            }
            other => panic!("no close with {code} but {other:?}"),
        }
    }

    /// Returns all frames up to the close, and its code.
    pub(crate) async fn until_closed(&mut self) -> (Vec<Value>, u16) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Got::Frame(frame) => frames.push(frame),
                Got::Close(code, _) => return (frames, code),
                Got::End => return (frames, 1006),
            }
        }
    }

    /// Sends a frame with a `ref` of its own and waits for the first answer. Other frames are kept.
    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        let reference = self.reference(frame).await;
        self.answer(&reference).await
    }

    /// Sends a frame with a `ref` of its own, and returns the `ref`.
    pub(crate) async fn reference(&mut self, mut frame: Value) -> String {
        self.asked += 1;
        let reference = format!("ref {}", self.asked);
        frame["ref"] = json!(reference);
        self.send(frame).await;
        reference
    }

    /// Waits for an answer with this `ref`. Other frames are kept.
    pub(crate) async fn answer(&mut self, reference: &str) -> Value {
        if let Some(place) = self.early.iter().position(|frame| frame["ref"] == reference) {
            return self.early.remove(place).expect("a frame");
        }
        loop {
            match self.read().await {
                Got::Frame(frame) if frame["ref"] == reference => return frame,
                Got::Frame(frame) => self.early.push_back(frame),
                other => panic!("no answer but {other:?}, after {:?}", self.early),
            }
        }
    }

    /// Joins a room; `more` is added to the frame.
    pub(crate) async fn join(&mut self, room: impl std::fmt::Display, more: Value) -> Joined {
        let mut frame = json!({ "type": "join", "roomId": room.to_string() });
        if let (Value::Object(frame), Value::Object(more)) = (&mut frame, more) {
            frame.extend(more);
        }
        let reference = self.reference(frame).await;
        let confirmation = self.answer(&reference).await;
        assert_eq!(confirmation["type"], "join_confirmation", "{confirmation}");
        let mut pages = Vec::new();
        loop {
            let page = self.answer(&reference).await;
            assert_eq!(page["type"], "previous_messages", "{page}");
            let more = page["more"] == true;
            pages.push(page);
            if !more {
                return Joined { confirmation, pages };
            }
        }
    }

    /// Posts a message, and returns its `ack`.
    pub(crate) async fn post(&mut self, room: impl std::fmt::Display, content: &str) -> Value {
        let ack = self.ask(json!({ "type": "message", "roomId": room.to_string(), "content": content })).await;
        assert_eq!(ack["type"], "ack", "{ack}");
        ack
    }

    /// Returns everything that the server sends before it answers a ping that is sent now.
    pub(crate) async fn drain(&mut self) -> Vec<Value> {
        let pong = self.ask(json!({ "type": "ping" })).await;
        assert_eq!(pong["type"], "pong");
        self.early.drain(..).collect()
    }

    /// Asserts that there are no unread frames.
    pub(crate) async fn quiet(&mut self) {
        assert_eq!(self.drain().await, Vec::<Value>::new());
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let code = tokio_websockets::CloseCode::try_from(code).expect("a code");
        self.stream.send(Message::close(Some(code), reason)).await.expect("an open connection");
    }
}

impl Joined {
    /// Returns the `seq`s of all pages, and asserts that each page is complete.
    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.pages.iter().flat_map(page_seqs).collect()
    }

    pub(crate) fn to_seq(&self) -> u64 {
        number(&self.pages.last().expect("a page")["toSeq"])
    }
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Returns the `seq`s of a page, ascending. Asserts that messages and other events are each ascending.
pub(crate) fn page_seqs(page: &Value) -> Vec<u64> {
    let seqs =
        |key: &str| -> Vec<u64> { page[key].as_array().expect("a list").iter().map(|event| number(&event["seq"])).collect() };
    let (messages, events) = (seqs("messages"), seqs("events"));
    assert!(messages.is_sorted() && events.is_sorted(), "{page}");
    let mut all = [messages, events].concat();
    all.sort_unstable();
    all
}

/// Returns the `seq`s of the frames that are events of this room.
pub(crate) fn live_seqs(frames: &[Value], room: impl std::fmt::Display) -> Vec<u64> {
    let room = room.to_string();
    frames.iter().filter(|frame| is_event(frame) && frame["roomId"] == room).map(|frame| number(&frame["seq"])).collect()
}

pub(crate) fn is_event(frame: &Value) -> bool {
    matches!(frame["type"].as_str(), Some("new_message" | "member_joined" | "member_left"))
}
