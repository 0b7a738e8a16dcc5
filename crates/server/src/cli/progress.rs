//! Progress of a long command: a bar on a terminal, otherwise an occasional line.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Minimum interval of updates on a terminal.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Minimum interval of lines in a log.
const LINE_EVERY: Duration = Duration::from_secs(10);
const WIDTH: u64 = 30;

/// Reports progress on standard error.
pub(crate) struct Progress {
    on_terminal: bool,
    what: &'static str,
    begun: Instant,
    told: Option<Instant>,
    /// Whether everything was reported as done.
    is_done: bool,
}

impl Progress {
    pub(crate) fn new(on_terminal: bool) -> Self {
        Self { on_terminal, what: "", begun: Instant::now(), told: None, is_done: false }
    }

    /// Reports that `done` of `total` items are done. Each `what` has a bar of its own.
    pub(crate) fn tell(&mut self, what: &'static str, done: u64, total: u64) {
        let now = Instant::now();
        if self.what != what {
            (self.what, self.begun, self.told, self.is_done) = (what, now, None, false);
        }
        if self.is_done {
            return;
        }
        self.is_done = done >= total;
        let every = if self.on_terminal { BAR_EVERY } else { LINE_EVERY };
        if done < total && self.told.is_some_and(|told| now.duration_since(told) < every) {
            return;
        }
        self.told = Some(now);
        let line = line(what, done, total, now.duration_since(self.begun));
        let end = if done < total { "" } else { "\n" };
        let _ = if self.on_terminal { write!(io::stderr(), "\r\x1b[K{line}{end}") } else { writeln!(io::stderr(), "{line}") };
    }

    /// Removes the bar, however the command ends.
    pub(crate) fn end(&mut self) {
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    // An empty total counts as complete.
    let full = (WIDTH * done.min(total)).checked_div(total).unwrap_or(WIDTH);
    let bar: String = (0..WIDTH).map(|place| if place < full { '#' } else { '-' }).collect();
    let percent = (100 * done.min(total)).checked_div(total).unwrap_or(100);
    let seconds = elapsed.as_secs();
    let rate = done.checked_div(seconds).filter(|rate| *rate > 0);
    let rest = rate.map(|rate| total.saturating_sub(done) / rate).filter(|_| done < total);
    let rest = rest.map_or_else(String::new, |rest| format!(", about {} min {} s more", rest / 60, rest % 60));
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate} a second"));
    format!("[{bar}] {percent:>3} % {done} of {total} {what}{rate}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_much_and_how_long() {
        let half = line("messages", 500, 1_000, Duration::from_secs(5));
        assert_eq!(half, "[###############---------------]  50 % 500 of 1000 messages, 100 a second, about 0 min 5 s more");
        assert_eq!(line("users", 0, 0, Duration::ZERO), "[##############################] 100 % 0 of 0 users");
    }
}
