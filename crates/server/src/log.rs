//! Where log lines go, and how they look. Tokens and contents are in none.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::EnvFilter;

use self::queue::LineQueue;
use crate::config::{LogFormat, Settings};

/// How long a reader that takes nothing holds up the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);

static LINES: LineQueue = LineQueue::new();

/// Sends log lines to standard error from now on, and panics as log lines. A second call changes nothing.
pub fn start(settings: &Settings) {
    // Checked when it was read; an empty filter says nothing rather than failing here.
    let mut filter = EnvFilter::try_new(&settings.log).unwrap_or_default();
    // The bus tells of itself in our words; the library's, several a second while NATS is away, only where asked for.
    if !settings.log.contains("async_nats")
        && let Ok(quiet) = "async_nats=off".parse()
    {
        filter = filter.add_directive(quiet);
    }
    start_thread();
    // What it would tell of itself it writes to standard error by `eprintln!`, which panics where that fails.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines).log_internal_errors(false);
    let _ = match settings.log_format {
        LogFormat::Auto => subscriber.with_ansi(colours_wanted()).try_init(),
        LogFormat::Human => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
    std::panic::set_hook(Box::new(tell_panic));
}

/// A line for standard error that is no event of the log. Like one it waits for nobody.
pub(crate) fn note(text: impl fmt::Display) {
    start_thread();
    LINES.push(format!("{text}\n").as_bytes());
}

/// A line in the audit log about a command that was carried out by whoever may run commands here.
pub(crate) fn audit(action: &'static str) {
    tracing::info!(target: "audit", action, outcome = "ok", "audit");
}

/// How many lines were dropped since the process began, for want of a reader or of space.
pub(crate) fn lines_dropped() -> u64 {
    LINES.dropped()
}

/// Returns when all lines are written, or nobody has taken any for a second. For the end of the process.
pub fn flush() {
    LINES.flush(LAST_LINES);
}

fn start_thread() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let tell = |dropped| tracing::warn!(dropped, "log lines were lost: standard error was full, or took none for a while");
        // Without its thread the queue fills up, and then only counts: that is no reason for a server not to run.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || LINES.run(standard_error(), tell));
    });
}

/// Without std's lock, which this thread would keep from others for as long as nobody reads.
fn standard_error() -> Box<dyn Write> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(io::stderr()),
    }
}

/// Takes each event's line whole.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The standard hook writes to standard error itself, and would wait there.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let location = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let reason = without_quotations(panic.payload_as_str().unwrap_or_default());
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    if tracing::enabled!(Level::ERROR) {
        tracing::error!(thread = name, location, reason, backtrace, "a thread panicked");
    } else {
        note(format_args!("thread {name} panicked at {location}: {reason}"));
    }
    if name == "main" {
        flush();
    }
}

/// A panic quotes what it was given, which may be the content of a message.
fn without_quotations(reason: &str) -> &str {
    reason.split(['`', '"', '\'']).next().unwrap_or_default()
}

/// On a terminal, unless the person before it asked for none (no-color.org).
fn colours_wanted() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_quotes_nothing() {
        let reason = "byte index 5 is not a char boundary; it is inside 'é' of `what somebody wrote`";
        assert_eq!(without_quotations(reason), "byte index 5 is not a char boundary; it is inside ");
        assert_eq!(without_quotations("index out of bounds: the len is 3"), "index out of bounds: the len is 3");
    }
}
