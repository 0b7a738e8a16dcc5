use chatsphere_protocol::frames::EventFrame;

/// A durable event of a room: a frame of the protocol.
pub type Event = EventFrame<'static>;
