use std::time::Duration;

use chatsphere_core::{FrameRate, Limits};

/// Maximum length of a pause, in microseconds. A connection is not considered silent during pauses.
const MAX_PAUSE: u64 = 1_000_000;

/// Limits the frame rate of one connection. Frames above the rate are read later; too many frames without a request, such as
/// empty fragments, close the connection. Every connection has one, so it holds only per-connection state.
#[derive(Debug, Default)]
pub(super) struct FrameRateLimit {
    /// When the allowance for all frames is full again, in microseconds since the node started.
    frames: u64,
    /// The same for frames without a request.
    idle: u64,
}

impl FrameRateLimit {
    /// Counts frames. Returns how long to pause before the next is read.
    pub(super) fn count(&mut self, limits: &Limits, frames: u32, now: u64) -> Duration {
        let rate = limits.frame_rate();
        let Some(over) = take(&mut self.frames, rate, frames, now) else { return Duration::ZERO };
        let pause = over.min(MAX_PAUSE);
        // One read may bring more frames than the longest pause covers: the remainder is forgiven.
        self.frames -= over - pause;
        Duration::from_micros(pause)
    }

    /// Counts frames without a request. Returns whether they are too many.
    pub(super) fn is_flooded(&mut self, limits: &Limits, idle: u32, now: u64) -> bool {
        take(&mut self.idle, limits.idle_frame_rate(), idle, now).is_some()
    }
}

/// Takes frames from an allowance (the generic cell rate algorithm). Returns by how many microseconds it is overdrawn, if it
/// is.
fn take(full_at: &mut u64, rate: FrameRate, frames: u32, now: u64) -> Option<u64> {
    if rate.per_second == 0 || frames == 0 {
        return None;
    }
    let interval = 1_000_000 / u64::from(rate.per_second).min(1_000_000);
    let whole = interval * u64::from(rate.burst);
    *full_at = (*full_at).max(now).saturating_add(interval * u64::from(frames));
    full_at.checked_sub(now.saturating_add(whole)).filter(|over| *over > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_all_rooms_again_and_sends_again_is_not_slowed_down() {
        for (rooms, per_second, burst) in [(1_000, 20, 100), (1, 1, 1), (100_000, 1, 1), (1_000, 1_000_000, 1_000_000)] {
            let limits = Limits {
                rooms_per_connection: rooms,
                messages_per_second: per_second,
                message_burst: burst,
                ..Limits::default()
            };
            let mut flood = FrameRateLimit::default();
            let frames = u32::try_from(2 * rooms + limits.unanswered_sends).unwrap() + burst;
            assert!((0..frames).all(|_| flood.count(&limits, 1, 5) == Duration::ZERO), "{rooms} {per_second} {burst}");
        }
    }

    #[test]
    fn what_comes_faster_is_read_later() {
        let (mut flood, limits) = (FrameRateLimit::default(), Limits::default());
        let burst = limits.frame_rate().burst;
        assert_eq!(flood.count(&limits, burst, 0), Duration::ZERO);
        assert_eq!(flood.count(&limits, 1, 0), Duration::from_millis(5));
        assert_eq!(flood.count(&limits, 1, 5_000), Duration::from_millis(5));
        // However many frames one read brings, the pause is bounded, and nothing is owed after it.
        assert_eq!(flood.count(&limits, 100_000, 10_000), Duration::from_secs(1));
        assert_eq!(flood.count(&limits, 1, 1_010_000), Duration::from_millis(5));
        let off = Limits { messages_per_second: 0, ..Limits::default() };
        assert_eq!(flood.count(&off, u32::MAX, 0), Duration::ZERO);
    }

    #[test]
    fn what_comes_to_nothing_is_a_flood_in_the_end() {
        let (mut flood, limits) = (FrameRateLimit::default(), Limits::default());
        assert_eq!((0..1_500).filter(|_| !flood.is_flooded(&limits, 1, 7)).count(), 1_000);
        let off = Limits { messages_per_second: 0, ..Limits::default() };
        assert!((0..100_000).all(|_| !flood.is_flooded(&off, 1, 7)));
    }
}
