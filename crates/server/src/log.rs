//! Where log lines go, and how they look. Tokens and contents are in none.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Sends log lines to standard error from now on. A second call changes nothing.
pub fn start(settings: &Settings) {
    // Checked when it was read; an empty filter says nothing rather than failing here.
    let mut filter = EnvFilter::try_new(&settings.log).unwrap_or_default();
    // The bus tells of itself in our words; the library's, several a second while NATS is away, only where asked for.
    if !settings.log.contains("async_nats")
        && let Ok(quiet) = "async_nats=off".parse()
    {
        filter = filter.add_directive(quiet);
    }
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = match settings.log_format {
        LogFormat::Auto => subscriber.with_ansi(colours_wanted()).try_init(),
        LogFormat::Human => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}

/// On a terminal, unless the person before it asked for none (no-color.org).
fn colours_wanted() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
