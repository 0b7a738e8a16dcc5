//! The newest events of a room as encoded frames: the undelivered ones, and some before them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use chatsphere_core::{Seq, UserId};

use crate::frame::EncodedEvent;

/// Number of delivered frames that are kept, so that a join can close the last steps of its replay without another read.
const MAX_RECENT: usize = 64;
/// Maximum size of these frames in bytes, so that long messages in many rooms do not fill the memory.
const MAX_RECENT_BYTES: usize = 64 * 1024;

/// The frames of consecutive events.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    events: VecDeque<EncodedEvent>,
    bytes: usize,
    /// Number of frames that end a membership.
    departures: usize,
    /// The frames that were concatenated last: most subscriptions of a room need the same ones.
    concatenated: Option<Concatenated>,
}

/// The frames above `after` up to `up_to`.
#[derive(Debug)]
struct Concatenated {
    after: Seq,
    up_to: Seq,
    bytes: Bytes,
}

/// A number of events, and the bytes of their frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl FrameBuffer {
    /// Appends the next event.
    pub(super) fn push(&mut self, event: EncodedEvent) {
        self.bytes += event.frame.len();
        self.departures += usize::from(event.departed.is_some());
        self.events.push_back(event);
    }

    /// Drops frames that are no longer recent and were delivered to every subscription.
    pub(super) fn trim(&mut self, delivered_up_to: Seq) {
        self.concatenated = None;
        while self.events.len() > MAX_RECENT || self.bytes > MAX_RECENT_BYTES {
            match self.events.front() {
                Some(oldest) if oldest.seq <= delivered_up_to => {
                    self.bytes -= oldest.frame.len();
                    self.departures -= usize::from(oldest.departed.is_some());
                    self.events.pop_front();
                }
                _ => break,
            }
        }
        if self.events.is_empty() || self.events.capacity() > 4 * MAX_RECENT {
            self.events.shrink_to_fit();
        }
    }

    /// All frames above `after` up to `up_to`, concatenated. `None` if some are no longer kept.
    pub(super) fn concatenated(&mut self, after: Seq, up_to: Seq) -> Option<Bytes> {
        if let Some(last) = self.concatenated.as_ref().filter(|last| last.after == after && last.up_to == up_to) {
            return Some(last.bytes.clone());
        }
        let (begin, end) = self.indexes(after, up_to)?;
        let bytes = if end - begin == 1 {
            self.events.get(begin)?.frame.clone()
        } else {
            let mut bytes = BytesMut::with_capacity(self.events.range(begin..end).map(|event| event.frame.len()).sum());
            self.events.range(begin..end).for_each(|event| bytes.extend_from_slice(&event.frame));
            bytes.freeze()
        };
        self.concatenated = Some(Concatenated { after, up_to, bytes: bytes.clone() });
        Some(bytes)
    }

    /// The same frames, not concatenated. Empty if some are no longer kept.
    pub(super) fn separate(&self, after: Seq, up_to: Seq) -> Vec<Bytes> {
        let (begin, end) = self.indexes(after, up_to).unwrap_or_default();
        self.events.range(begin..end).map(|event| event.frame.clone()).collect()
    }

    /// The first event above `after` that ends this user's membership.
    pub(super) fn departure(&self, user: UserId, after: Seq) -> Option<Seq> {
        if self.departures == 0 {
            return None;
        }
        self.events.iter().find(|event| event.seq > after && event.departed == Some(user)).map(|event| event.seq)
    }

    /// The amount of events above `after`.
    pub(super) fn amount_after(&self, after: Seq) -> Amount {
        let events = self.events.iter().rev().take_while(|event| event.seq > after);
        events.fold(Amount::default(), |sum, event| Amount { events: sum.events + 1, bytes: sum.bytes + event.frame.len() })
    }

    /// The indexes of the frames above `after` up to `up_to`: the first one, and the one after the last.
    fn indexes(&self, after: Seq, up_to: Seq) -> Option<(usize, usize)> {
        let first = self.events.front()?.seq.get();
        let begin = usize::try_from(after.next().get().checked_sub(first)?).ok()?;
        let end = usize::try_from(up_to.next().get().checked_sub(first)?).ok()?;
        (begin < end && end <= self.events.len()).then_some((begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(range: std::ops::RangeInclusive<u64>, bytes: usize) -> FrameBuffer {
        let mut frames = FrameBuffer::default();
        for seq in range {
            let frame = Bytes::from(vec![u8::try_from(seq % 256).unwrap(); bytes]);
            frames.push(EncodedEvent { seq: Seq::new(seq), frame, departed: None });
        }
        frames
    }

    #[test]
    fn frames_are_returned_whole_or_not_at_all() {
        let mut frames = frames(5..=9, 2);
        let concatenated = |frames: &mut FrameBuffer, after, up_to| {
            frames.concatenated(Seq::new(after), Seq::new(up_to)).map(|bytes| bytes.to_vec())
        };
        assert_eq!(concatenated(&mut frames, 4, 6), Some(vec![5, 5, 6, 6]));
        assert_eq!(concatenated(&mut frames, 8, 9), Some(vec![9, 9]));
        assert_eq!(frames.separate(Seq::new(7), Seq::new(9)), [vec![8, 8], vec![9, 9]]);
        for (after, up_to) in [(3, 6), (9, 9), (8, 10), (6, 5)] {
            assert_eq!(frames.separate(Seq::new(after), Seq::new(up_to)), Vec::<Bytes>::new(), "{after}..={up_to}");
            assert_eq!(concatenated(&mut frames, after, up_to), None, "{after}..={up_to}");
        }
    }

    #[test]
    fn what_was_not_delivered_stays() {
        let mut many = frames(1..=200, 1);
        many.trim(Seq::new(10));
        assert!(many.concatenated(Seq::new(10), Seq::new(200)).is_some());
        assert!(many.concatenated(Seq::new(9), Seq::new(200)).is_none());
        many.trim(Seq::new(200));
        assert_eq!(many.amount_after(Seq::new(0)), Amount { events: MAX_RECENT, bytes: MAX_RECENT });
        let mut long = frames(1..=4, MAX_RECENT_BYTES / 2);
        long.trim(Seq::new(4));
        assert_eq!(long.amount_after(Seq::new(0)), Amount { events: 2, bytes: MAX_RECENT_BYTES });
    }
}
