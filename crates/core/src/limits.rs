//! The limits on clients. Each is a setting, and its default is defined here.

use std::time::Duration;

/// The limits on what a client may send and hold. WebSocket clients receive them in `hello.limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest message content, in bytes of UTF-8.
    pub message_bytes: usize,
    /// Versions of a message that are kept, the current one included.
    pub message_versions: u32,
    /// Longest username, in characters.
    pub username_chars: usize,
    /// Longest room name, in characters.
    pub room_name_chars: usize,
    /// Longest `ref` of a WebSocket frame, in bytes.
    pub ref_bytes: usize,
    /// Longest `clientMessageId`, in bytes.
    pub client_message_id_bytes: usize,
    /// Longest `Idempotency-Key`, in bytes.
    pub idempotency_key_bytes: usize,
    /// Largest WebSocket frame, and whole message, in bytes.
    pub frame_bytes: usize,
    /// Largest HTTP body, in bytes.
    pub body_bytes: usize,
    /// Rooms that one connection may join.
    pub rooms_per_connection: usize,
    /// Connections that one user may have on one node.
    pub connections_per_user: usize,
    /// Unsent bytes after which a slow connection is closed with 4008.
    pub outbound_queue_bytes: usize,
    /// Messages that a user may send in a second, sustained; 0 is no limit.
    pub messages_per_second: u32,
    /// Messages that a user may send at once after a pause.
    pub message_burst: u32,
    /// Reads that a user may make over REST in a second, sustained; 0 is no limit.
    pub reads_per_second: u32,
    /// Reads that a user may make at once after a pause.
    pub read_burst: u32,
    /// REST calls of one user that may be in progress on one node, from their start until their answer is sent.
    pub calls_per_user: usize,
    /// Bytes of unsent answers and replays on one node.
    pub answer_bytes: usize,
    /// Bytes of unsent answers and replays of one user on one node.
    pub answer_bytes_per_user: usize,
    /// Unsent bytes of all connections of one user on one node. The bound is twice this for a connection with a short queue of
    /// its own.
    pub outbound_bytes_per_user: usize,
    /// Unanswered messages of one connection after which its socket is no longer read. A connection that keeps sending is
    /// throttled for a second, to half as many.
    pub unanswered_sends: usize,
    /// Most events that a `join` with `since` replays.
    pub replay_events: u64,
    /// Messages that a `join` without `since` sends, and the default page size of every list.
    pub page_default: usize,
    /// Largest page of any list.
    pub page_max: usize,
    /// Messages that may be pinned in a room at a time.
    pub pins_per_room: u64,
    /// Longest time in which the head of an HTTP request must arrive.
    pub header_timeout: Duration,
    /// Longest time that an HTTP connection may be idle.
    pub idle_timeout: Duration,
    /// Time between the server's pings on a WebSocket, before jitter.
    pub heartbeat: Duration,
    /// Connections that one node accepts, over HTTP and WebSocket together.
    pub connections: usize,
}

/// The rate at which a connection's frames are read. Faster frames wait in the network; the connection is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames in a second, sustained; 0 is no limit.
    pub per_second: u32,
    /// Frames at once after a pause.
    pub burst: u32,
}

/// Frames that a connection may send, as a multiple of the messages that its user may post. Rejecting a frame costs the server
/// little, but something.
const FRAMES_PER_MESSAGE: u32 = 10;

/// The lowest rate of frames, also if a user may post few messages, because pings, joins and retries are not messages.
const LEAST_FRAMES: FrameRate = FrameRate { per_second: 200, burst: 1_000 };

impl Limits {
    /// The rate at which a connection's frames are read. A client that reconnects, joins all its rooms again and repeats its
    /// unanswered sends is not slowed down.
    pub fn frame_rate(&self) -> FrameRate {
        let idle = self.idle_frame_rate();
        let resumed = self.rooms_per_connection.saturating_mul(2).saturating_add(self.unanswered_sends);
        let resumed = u32::try_from(resumed).unwrap_or(u32::MAX).saturating_add(self.message_burst);
        FrameRate { per_second: idle.per_second, burst: idle.burst.max(resumed) }
    }

    /// The rate of frames without effect: unreadable frames, pings and empty fragments. A connection that exceeds it is closed
    /// with 4029.
    pub fn idle_frame_rate(&self) -> FrameRate {
        if self.messages_per_second == 0 {
            return FrameRate { per_second: 0, burst: 0 };
        }
        let times = |messages: u32, least: u32| messages.saturating_mul(FRAMES_PER_MESSAGE).max(least);
        FrameRate {
            per_second: times(self.messages_per_second, LEAST_FRAMES.per_second),
            burst: times(self.message_burst, LEAST_FRAMES.burst),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 32 * 1024,
            message_versions: 50,
            username_chars: 64,
            room_name_chars: 128,
            ref_bytes: 64,
            client_message_id_bytes: 64,
            idempotency_key_bytes: 128,
            frame_bytes: 64 * 1024,
            body_bytes: 256 * 1024,
            rooms_per_connection: 1_000,
            connections_per_user: 1_000,
            outbound_queue_bytes: 1024 * 1024,
            messages_per_second: 20,
            message_burst: 100,
            reads_per_second: 50,
            read_burst: 1_500,
            calls_per_user: 32,
            answer_bytes: 64 * 1024 * 1024,
            answer_bytes_per_user: 4 * 1024 * 1024,
            outbound_bytes_per_user: 32 * 1024 * 1024,
            unanswered_sends: 64,
            replay_events: 10_000,
            page_default: 50,
            page_max: 200,
            pins_per_room: 100,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            heartbeat: Duration::from_secs(25),
            connections: 100_000,
        }
    }
}
