//! A bounded queue of log lines with a thread that writes them to standard error, so that logging never waits for the reader.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum number of queued bytes, about 5,000 lines. As many again may be in the current write.
const MAX_WAITING: usize = 1024 * 1024;
/// Maximum size of a write, which a pipe accepts atomically, even with other writers (pipe(7), PIPE_BUF).
const PIECE: usize = 4_096;
/// Delay before retrying a descriptor that would block.
const RETRY: Duration = Duration::from_millis(10);
/// Memory that an idle queue keeps, in bytes.
const KEPT: usize = 64 * 1024;

/// The queue of lines. A line that does not fit is dropped and counted.
pub(super) struct LineQueue {
    state: Mutex<State>,
    filled: Condvar,
    advanced: Condvar,
    dropped: AtomicU64,
}

struct State {
    /// Complete lines.
    waiting: Vec<u8>,
    /// A batch is being written.
    writing: bool,
    /// Incremented with each write.
    progress: u64,
}

impl LineQueue {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State { waiting: Vec::new(), writing: false, progress: 0 }),
            filled: Condvar::new(),
            advanced: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues a line, which ends with a line feed, or drops it. Returns at once.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len().saturating_add(line.len()) > MAX_WAITING {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Number of dropped lines: those that did not fit, and those that could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes queued lines for ever. An error loses only the lines of that write. `log_dropped` is called with the number of
    /// dropped lines once writing succeeds again.
    pub(super) fn run(&self, mut out: impl Write, log_dropped: impl Fn(u64)) {
        let (mut lines, mut told, mut torn) = (Vec::new(), 0, false);
        loop {
            self.take(&mut lines);
            let mut written = false;
            for piece in pieces(&lines) {
                written = write_piece(&mut out, piece, &mut torn);
                if !written {
                    self.dropped.fetch_add(count_lines(piece), Ordering::Relaxed);
                }
                self.lock().progress += 1;
                self.advanced.notify_all();
            }
            let dropped = self.dropped();
            if written && dropped > told {
                log_dropped(dropped - told);
                told = dropped;
            }
        }
    }

    /// Waits for lines and takes all of them.
    fn take(&self, lines: &mut Vec<u8>) {
        lines.clear();
        lines.shrink_to(KEPT);
        let mut state = self.lock();
        state.writing = false;
        self.advanced.notify_all();
        while state.waiting.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(lines, &mut state.waiting);
        state.writing = true;
    }

    /// Returns when all lines are written, or none was written for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let mut state = self.lock();
        while state.writing || !state.waiting.is_empty() {
            let before = state.progress;
            let (after, waited) = self.advanced.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() && after.progress == before {
                return;
            }
            state = after;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits lines into writes of as many complete lines as fit, or of one longer line.
fn pieces(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let fits = rest.get(..PIECE).map_or(Some(rest.len()), |head| end_of(head.iter().rposition(is_end)));
        let end = fits.or_else(|| end_of(rest.iter().position(is_end))).unwrap_or(rest.len());
        let (piece, left) = rest.split_at(end);
        rest = left;
        Some(piece)
    })
}

fn is_end(byte: &u8) -> bool {
    *byte == b'\n'
}

fn end_of(position: Option<usize>) -> Option<usize> {
    position.map(|position| position + 1)
}

fn count_lines(piece: &[u8]) -> u64 {
    u64::try_from(piece.iter().filter(|byte| is_end(byte)).count()).unwrap_or(u64::MAX)
}

/// Returns whether the piece was written completely. `torn` records that a write ended within a line, so that the next starts a
/// new line.
fn write_piece(out: &mut impl Write, piece: &[u8], torn: &mut bool) -> bool {
    if *torn && !write_all(out, b"\n", torn) {
        return false;
    }
    write_all(out, piece, torn)
}

fn write_all(out: &mut impl Write, bytes: &[u8], torn: &mut bool) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return false,
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                *torn = !rest.is_empty();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Follows the script for each write, and records the written bytes.
    struct Scripted {
        orders: Receiver<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a script it accepts everything.
            let count = self.orders.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Orders = Sender<io::Result<usize>>;

    fn started() -> (&'static LineQueue, Orders, Arc<Mutex<Vec<u8>>>) {
        let queue: &'static LineQueue = Box::leak(Box::new(LineQueue::new()));
        let (sender, orders) = channel();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let out = Scripted { orders, taken: taken.clone() };
        std::thread::spawn(move || queue.run(out, |dropped| queue.push(format!("dropped {dropped}\n").as_bytes())));
        (queue, sender, taken)
    }

    fn text(taken: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(taken.lock().unwrap().clone()).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (queue, orders, taken) = started();
        let line = [[b'x'; 99].as_slice(), b"\n"].concat();
        let pushed = u64::try_from(3 * MAX_WAITING / line.len()).unwrap();
        for _ in 0..pushed {
            queue.push(&line);
        }
        // At most the queued lines and one batch can be kept.
        assert!(queue.dropped() >= pushed / 3 - 1, "{}", queue.dropped());
        queue.flush(Duration::from_millis(20));
        let dropped = queue.dropped();
        drop(orders);
        queue.flush(LONG);
        let text = text(&taken);
        assert!(text.ends_with(&format!("dropped {dropped}\n")), "{}", &text[text.len() - 200..]);
        assert_eq!(u64::try_from(text.matches('x').count() / 99).unwrap(), pushed - dropped);
    }

    #[test]
    fn errors_cost_their_lines_alone() {
        let (queue, orders, taken) = started();
        orders.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        queue.push(b"one\n");
        queue.flush(LONG);
        assert_eq!((queue.dropped(), text(&taken).as_str()), (1, ""));
        // The disk fills up within a line.
        orders.send(Ok(2)).unwrap();
        orders.send(Err(ErrorKind::StorageFull.into())).unwrap();
        queue.push(b"two\n");
        queue.flush(LONG);
        orders.send(Err(ErrorKind::Interrupted.into())).unwrap();
        orders.send(Err(ErrorKind::WouldBlock.into())).unwrap();
        drop(orders);
        queue.push(b"three\n");
        queue.flush(LONG);
        assert_eq!(text(&taken), "tw\nthree\ndropped 2\n");
    }

    #[test]
    fn writes_hold_whole_lines() {
        let long = "y".repeat(2 * PIECE);
        let lines = format!("{}\n{long}\nend\n", "x".repeat(PIECE - 10));
        let split: Vec<usize> = pieces(lines.as_bytes()).map(<[u8]>::len).collect();
        assert_eq!(split, [PIECE - 9, 2 * PIECE + 1, 4]);
        assert_eq!(pieces(b"a\nb\n").collect::<Vec<_>>(), [b"a\nb\n"]);
        assert_eq!(pieces(b"").count(), 0);
    }
}
