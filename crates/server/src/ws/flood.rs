use std::time::Duration;

use chatsphere_core::Limits;
use tokio::time::Instant;

/// Frames of any kind that a connection may send, as a multiple of the messages that its user may post. Refusing a frame costs
/// the server little, but not nothing.
const FRAMES_PER_MESSAGE: u32 = 10;

/// How many frames one connection may send: beyond it, it is closed with 4029. There is one of these for every connection, so
/// it keeps only what differs between them.
#[derive(Debug, Default)]
pub(super) struct Flood {
    full_at: Option<Instant>,
}

impl Flood {
    /// Whether so many more frames are too many.
    pub(super) fn is_flooded(&mut self, limits: &Limits, frames: u32, now: Instant) -> bool {
        let per_second = limits.messages_per_second.saturating_mul(FRAMES_PER_MESSAGE);
        if per_second == 0 || frames == 0 {
            return false;
        }
        let interval = Duration::from_secs(1) / per_second;
        let burst = interval.saturating_mul(limits.message_burst.saturating_mul(FRAMES_PER_MESSAGE));
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + interval.saturating_mul(frames);
        if full_at > now + burst {
            return true;
        }
        self.full_at = Some(full_at);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_in_and_a_flood_is_not() {
        let (mut flood, limits) = (Flood::default(), Limits::default());
        let now = Instant::now();
        assert_eq!((0..1_500).filter(|_| !flood.is_flooded(&limits, 1, now)).count(), 1_000);
        assert!(!flood.is_flooded(&limits, 1, now + Duration::from_millis(5)));
        let off = Limits { messages_per_second: 0, ..Limits::default() };
        assert!((0..100_000).all(|_| !flood.is_flooded(&off, 1, now)));
    }
}
