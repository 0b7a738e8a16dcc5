//! What a task tells the person at the terminal. On stderr, so that a command's own output stays clean.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A line on what is being done.
pub(crate) fn step(text: &str) {
    line("==>", text);
}

/// A line on something that the reader may want to act on.
pub(crate) fn warn(text: &str) {
    line("!!!", text);
}

/// A heading above a part of a longer run.
pub(crate) fn heading(text: &str) {
    line("\n###", text);
}

/// A duration as a person would say it.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn line(mark: &str, text: &str) {
    let mut err = std::io::stderr().lock();
    // A closed terminal is no reason to leave servers running, as a panic in eprintln! might.
    let _ = if err.is_terminal() { writeln!(err, "\x1b[1m{mark} {text}\x1b[0m") } else { writeln!(err, "{mark} {text}") };
}

#[cfg(test)]
mod tests {
    use super::took;
    use std::time::Duration;

    #[test]
    fn durations_read_well() {
        assert_eq!(took(Duration::from_millis(4230)), "4.2 s");
        assert_eq!(took(Duration::from_secs(61)), "1 min 01 s");
    }
}
