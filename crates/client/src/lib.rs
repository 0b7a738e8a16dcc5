//! The Rust SDK of ChatSphere.
//!
//! A [`Client`] calls the REST API. [`Client::connect`] opens a WebSocket that maintains itself: it reconnects, resumes every
//! room at its cursor, resends unacknowledged messages, and delivers each event of a room once and in order.
//!
//! ```no_run
//! use chatsphere_client::{Client, ConnectOptions, Update};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:3001", std::env::var("CHATSPHERE_TOKEN")?)?;
//! let rooms = client.rooms(None).await?;
//! let Some(room) = rooms.items.first() else { return Ok(()) };
//!
//! let (connection, mut events) = client.connect(ConnectOptions::default());
//! connection.join(room.id).await?;
//! let ack = connection.send(room.id, "hello").await?;
//! println!("stored as number {}", ack.seq);
//!
//! while let Some(update) = events.recv().await {
//!     match update {
//!         Update::Event(event) => println!("{} {:?}", event.seq, event.kind),
//!         Update::Closed { code, reason } => println!("closed with {code}: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Over `https` the client trusts the system's authorities; [`ClientBuilder::trust`] adds others.
//!
//! Keep receiving from [`Events`]: it is bounded, and while it is full the socket is not read, so acknowledgements wait too. An
//! application that only sends should drop it.

mod builder;
mod client;
mod connection;
mod error;
mod event;
mod frame;
mod rest;

pub use chatsphere_protocol::Open;
pub use chatsphere_protocol::frames::{Ack, ErrorFrame, EventKind, NotRecovered};
pub use chatsphere_protocol::rest as bodies;
pub use chatsphere_types::{ConnectionId, Epoch, MessageId, Role, RoomId, Seq, Timestamp, TokenId, TokenType, UserId, Version};

pub use builder::ClientBuilder;
pub use client::Client;
pub use connection::{
    ConnectOptions, Connection, ConnectionState, Cursor, Events, Joined, OutgoingMessage, TokenError, TokenFuture,
    TokenProvider, Update,
};
pub use error::{ApiError, Error, RequestError};
pub use event::Event;
pub use rest::{Page, PageLink, Place};
