//! Logging to standard error. Log lines contain no tokens and no message contents.

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

/// Maximum time that a reader that does not read can delay the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);

static LINES: LineQueue = LineQueue::new();

/// Starts logging to standard error, panics included. Further calls have no effect.
pub fn start(settings: &Settings) {
    // The filter was validated with the settings; an empty one logs nothing.
    let mut filter = EnvFilter::try_new(&settings.log).unwrap_or_default();
    // The bus reports its state itself; the library's lines, several a second while NATS is away, appear only on request.
    if !settings.log.contains("async_nats")
        && let Ok(quiet) = "async_nats=off".parse()
    {
        filter = filter.add_directive(quiet);
    }
    start_thread();
    // The subscriber would report its own errors by `eprintln!`, which panics if that fails.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines).log_internal_errors(false);
    let _ = match settings.log_format {
        LogFormat::Auto => subscriber.with_ansi(colours_wanted()).try_init(),
        LogFormat::Human => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
    std::panic::set_hook(Box::new(log_panic));
}

/// Writes a line to standard error that is not a log event, also without waiting.
pub(crate) fn note(text: impl fmt::Display) {
    start_thread();
    LINES.push(format!("{text}\n").as_bytes());
}

/// Writes an audit line about a command that was carried out locally.
pub(crate) fn audit(action: &'static str) {
    tracing::info!(target: "audit", action, outcome = "ok", "audit");
}

/// Number of lines dropped since the process started, because nobody reads or the disk is full.
pub(crate) fn lines_dropped() -> u64 {
    LINES.dropped()
}

/// Returns when all lines are written, or none was accepted for a second. For the end of the process.
pub fn flush() {
    LINES.flush(LAST_LINES);
}

fn start_thread() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let tell = |dropped| tracing::warn!(dropped, "log lines were lost: standard error was full, or took none for a while");
        // Without its thread the queue fills up and then only counts; the server can still run.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || LINES.run(standard_error(), tell));
    });
}

/// Without the standard library's lock, which this thread would hold while a reader does not read.
fn standard_error() -> Box<dyn Write> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(io::stderr()),
    }
}

/// Receives the complete line of each event.
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

/// The default hook would block on standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
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

/// A panic message may quote its input, which may be the content of a message.
fn without_quotations(reason: &str) -> &str {
    reason.split(['`', '"', '\'']).next().unwrap_or_default()
}

/// On a terminal, unless NO_COLOR is set (no-color.org).
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
