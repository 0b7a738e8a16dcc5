//! Messages to the terminal, on standard error, so that a command's own output stays clean.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Prints the current activity.
pub(crate) fn step(text: &str) {
    line("==>", text);
}

/// Prints a warning.
pub(crate) fn warn(text: &str) {
    line("!!!", text);
}

/// Prints the heading of a part of a longer run.
pub(crate) fn heading(text: &str) {
    line("\n###", text);
}

/// A readable duration.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn line(mark: &str, text: &str) {
    let mut err = std::io::stderr().lock();
    // A closed terminal must not cause a panic, as eprintln! would, which could leave servers running.
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
