//! The newest events of a room as encoded frames: the undelivered ones, and some before them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use chatsphere_core::{Seq, UserId};

use crate::frame::EventBytes;

/// Delivered frames that are kept, so that a join can close the last steps of its replay without another read.
const RECENT: usize = 64;
/// Maximum size of the kept frames in bytes, so that long messages in many rooms do not fill the memory.
const RECENT_BYTES: usize = 64 * 1024;

/// Consecutive frames without a gap.
#[derive(Debug, Default)]
pub(super) struct Frames {
    kept: VecDeque<EventBytes>,
    bytes: usize,
    /// Number of frames that end a membership.
    departures: usize,
    /// The run requested last: most subscriptions of a room need the same one.
    joined: Option<Joined>,
}

#[derive(Debug)]
struct Joined {
    after: Seq,
    up_to: Seq,
    run: Bytes,
}

impl Frames {
    /// Appends the next event.
    pub(super) fn push(&mut self, event: EventBytes) {
        self.bytes += event.frame.len();
        self.departures += usize::from(event.departed.is_some());
        self.kept.push_back(event);
    }

    /// Drops frames that are no longer recent and were delivered to every subscription.
    pub(super) fn trim(&mut self, delivered_up_to: Seq) {
        self.joined = None;
        while self.kept.len() > RECENT || self.bytes > RECENT_BYTES {
            match self.kept.front() {
                Some(oldest) if oldest.seq <= delivered_up_to => {
                    self.bytes -= oldest.frame.len();
                    self.departures -= usize::from(oldest.departed.is_some());
                    self.kept.pop_front();
                }
                _ => break,
            }
        }
        if self.kept.is_empty() || self.kept.capacity() > 4 * RECENT {
            self.kept.shrink_to_fit();
        }
    }

    /// All frames above `after` up to `up_to`, concatenated. `None` if some are no longer kept.
    pub(super) fn run(&mut self, after: Seq, up_to: Seq) -> Option<Bytes> {
        if let Some(joined) = self.joined.as_ref().filter(|joined| joined.after == after && joined.up_to == up_to) {
            return Some(joined.run.clone());
        }
        let (begin, end) = self.places(after, up_to)?;
        let run = if end - begin == 1 {
            self.kept.get(begin)?.frame.clone()
        } else {
            let mut run = BytesMut::with_capacity(self.kept.range(begin..end).map(|event| event.frame.len()).sum());
            self.kept.range(begin..end).for_each(|event| run.extend_from_slice(&event.frame));
            run.freeze()
        };
        self.joined = Some(Joined { after, up_to, run: run.clone() });
        Some(run)
    }

    /// The same, frame by frame. Empty if some are no longer kept.
    pub(super) fn each(&self, after: Seq, up_to: Seq) -> Vec<Bytes> {
        let places = self.places(after, up_to).unwrap_or_default();
        self.kept.range(places.0..places.1).map(|event| event.frame.clone()).collect()
    }

    /// The first event above `after` that ends this user's membership.
    pub(super) fn departure(&self, user: UserId, after: Seq) -> Option<Seq> {
        if self.departures == 0 {
            return None;
        }
        self.kept.iter().find(|event| event.seq > after && event.departed == Some(user)).map(|event| event.seq)
    }

    /// The number of events above `after`, and their bytes.
    pub(super) fn above(&self, after: Seq) -> (usize, usize) {
        let events = self.kept.iter().rev().take_while(|event| event.seq > after);
        events.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.frame.len()))
    }

    fn places(&self, after: Seq, up_to: Seq) -> Option<(usize, usize)> {
        let first = self.kept.front()?.seq.get();
        let begin = usize::try_from(after.next().get().checked_sub(first)?).ok()?;
        let end = usize::try_from(up_to.next().get().checked_sub(first)?).ok()?;
        (begin < end && end <= self.kept.len()).then_some((begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(range: std::ops::RangeInclusive<u64>, bytes: usize) -> Frames {
        let mut frames = Frames::default();
        for seq in range {
            let frame = Bytes::from(vec![u8::try_from(seq % 256).unwrap(); bytes]);
            frames.push(EventBytes { seq: Seq::new(seq), frame, departed: None });
        }
        frames
    }

    #[test]
    fn a_run_is_whole_or_not_at_all() {
        let mut frames = frames(5..=9, 2);
        let run = |frames: &mut Frames, after, up_to| frames.run(Seq::new(after), Seq::new(up_to)).map(|run| run.to_vec());
        assert_eq!(run(&mut frames, 4, 6), Some(vec![5, 5, 6, 6]));
        assert_eq!(run(&mut frames, 8, 9), Some(vec![9, 9]));
        assert_eq!(frames.each(Seq::new(7), Seq::new(9)), [vec![8, 8], vec![9, 9]]);
        for (after, up_to) in [(3, 6), (9, 9), (8, 10), (6, 5)] {
            assert_eq!(frames.each(Seq::new(after), Seq::new(up_to)), Vec::<Bytes>::new(), "{after}..={up_to}");
            assert_eq!(run(&mut frames, after, up_to), None, "{after}..={up_to}");
        }
    }

    #[test]
    fn what_was_not_handed_out_stays() {
        let mut many = frames(1..=200, 1);
        many.trim(Seq::new(10));
        assert!(many.run(Seq::new(10), Seq::new(200)).is_some());
        assert!(many.run(Seq::new(9), Seq::new(200)).is_none());
        many.trim(Seq::new(200));
        assert_eq!(many.above(Seq::new(0)), (RECENT, RECENT));
        let mut long = frames(1..=4, RECENT_BYTES / 2);
        long.trim(Seq::new(4));
        assert_eq!(long.above(Seq::new(0)), (2, RECENT_BYTES));
    }
}
