use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use chatsphere_core::SystemClock;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;
use super::output::answer;
use crate::banner::Banner;
use crate::config::{ServerFlags, Settings};
use crate::listener::raise_descriptor_limit;
use crate::log;
use crate::serve::{Running, start};
use crate::start_error::StartError;

/// Run the server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: ServerFlags,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.load()?.settings;
        log::start(&settings);
        raise_descriptor_limit();
        // Before the start, so that a signal during it is not the death of a half-made database.
        let mut signals = Signals::listen()?;
        let running = start(settings.clone(), Arc::new(SystemClock)).await?;
        show(&running, &settings);
        let broken = tokio::select! {
            () = signals.next() => false,
            () = running.broken() => true,
        };
        if broken {
            tracing::error!("a part of the server has broken, see the panic above; stopping, to be started again");
        } else {
            tracing::info!("stopping; a second signal ends at once");
        }
        tokio::select! {
            stored = running.shutdown() => match (stored, broken) {
                (false, _) => Err(CliError::NotStopped),
                (true, true) => Err(CliError::Broken),
                (true, false) => Ok(()),
            },
            () = signals.next() => Err(CliError::Interrupted),
        }
    }
}

fn show(running: &Running, settings: &Settings) {
    let on_terminal = io::stdout().is_terminal();
    let first = running.first_token();
    // Whole paths: the other terminal, or the reader of the log, is elsewhere.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let data_dir = whole(&settings.data_dir);
    let first_token_file = first.map(|first| whole(&first.file));
    let banner = Banner {
        addr: running.http_addr(),
        tls: running.is_tls(),
        data_dir: &data_dir,
        database: settings.database().to_string(),
        first_token_file: first_token_file.as_deref(),
        first_token: first.filter(|_| on_terminal).map(|first| first.token.as_str()),
        demo_invite: if on_terminal { running.demo_invite() } else { None },
    };
    answer(if on_terminal { banner.human() } else { banner.plain() }.trim_end_matches('\n'));
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(StartError::Machine);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
