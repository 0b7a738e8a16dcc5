use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::run::recorder::Recorder;

const EVERY: Duration = Duration::from_millis(500);

/// Shows a run's progress on a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    of: usize,
    done: usize,
    shown: Option<Instant>,
    on_terminal: bool,
}

impl Progress {
    pub(super) fn new(of: usize) -> Self {
        Self { of, done: 0, shown: None, on_terminal: io::stderr().is_terminal() }
    }

    pub(super) fn step(&mut self, recorder: &Recorder, kills: usize) {
        self.done += 1;
        if self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) {
            self.shown = Some(Instant::now());
            let (done, of, acked) = (self.done, self.of, recorder.acked());
            self.say(&format!("{done} of about {of} steps, {acked} acknowledgements, {kills} kills"));
        }
    }

    pub(super) fn say(&self, text: &str) {
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say("");
    }
}
