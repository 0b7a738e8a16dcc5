//! The rules of ChatSphere: ids, the model, the policy, one use case a file in [`ops`], and the ports to storage, signals and
//! time.
//!
//! This crate has no HTTP, sockets, SQL or JSON of the wire. Front doors decode a call, run one op and encode its answer.

pub mod app_context;
pub mod authority;
mod bounded_map;
pub mod budget;
pub mod caller;
pub mod control;
pub mod duration;
pub mod encoded;
pub mod error;
pub mod event;
mod invisible;
pub mod limits;
pub mod model;
mod name_key;
pub mod ops;
mod page_cache;
pub mod policy;
pub mod rate;
pub mod shared;
pub mod signal;
pub mod store;
pub mod text;
pub mod time;
pub mod token;
pub mod turns;

pub use chatsphere_types::{
    ConnectionId, Epoch, Id, MessageId, Role, RoomId, Seq, Timestamp, TokenId, TokenType, UserId, Version, ids, seq,
};

pub use app_context::{AppContext, TokenLifetimes};
pub use authority::{Affected, Authority, AuthorityListener};
pub use bounded_map::BoundedMap;
pub use caller::{Caller, TokenState};
pub use control::{ControlChange, ControlEntry, ControlPosition};
pub use duration::{InvalidDuration, parse_duration};
pub use encoded::EncodedLen;
pub use error::{Conflict, Error, Forbidden, InvalidField, NotFound, RateLimited, TokenRefusal, Unavailable};
pub use event::{Event, EventKind, EventMessage, EventRow, MessageChangeKind, MessageKey};
pub use limits::{FrameRate, Limits};
pub use model::{Message, MessageDetails, MessageInRoom, MessageVersion, Room, User, UserRef};
pub use name_key::NameKeys;
pub use page_cache::PageCache;
pub use shared::Shared;
pub use signal::{Signal, SignalKind, SignalSink, Topic};
pub use store::{Access, Actor, CommitSink, Committed, Done, Idempotency, Store};
pub use text::{ClientMessageId, Content, Email, ExternalId, RoomName, Username};
pub use time::{Clock, ManualClock, Monotonic, SystemClock};
pub use token::{Permissions, Token, TokenWithUser};
