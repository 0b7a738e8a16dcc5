use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use chatsphere_core::SystemClock;
use chatsphere_net::listener::raise_descriptor_limit;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::error::CliError;
use super::output::announce;
use super::signals::Signals;
use crate::banner::Banner;
use crate::config::{ServerFlags, Settings};
use crate::log;
use crate::serve::{Running, start_unless};
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
        // Before the start, so that a signal during it does not abort the creation of a database.
        let mut signals = Signals::listen(settings.tls_cert.is_some())?;
        let Some(running) = started(&settings, &mut signals).await? else { return Ok(()) };
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

/// The server; `None` if it was stopped during its start.
async fn started(settings: &Settings, signals: &mut Signals) -> Result<Option<Running>, CliError> {
    let stop = CancellationToken::new();
    let mut starting = std::pin::pin!(start_unless(stop.clone(), settings.clone(), Arc::new(SystemClock)));
    loop {
        tokio::select! {
            started = &mut starting => {
                return match started {
                    Err(StartError::Stopped) => {
                        tracing::info!("stopped before it had started");
                        Ok(None)
                    }
                    Ok(running) if stop.is_cancelled() => {
                        let stored = running.shutdown().await;
                        if stored { Ok(None) } else { Err(CliError::NotStopped) }
                    }
                    started => Ok(Some(started?)),
                };
            }
            () = signals.next() => {
                if stop.is_cancelled() {
                    return Err(CliError::Interrupted);
                }
                tracing::info!("told to stop during the start; a second signal ends at once");
                stop.cancel();
            }
        }
    }
}

fn show(running: &Running, settings: &Settings) {
    let on_terminal = io::stdout().is_terminal();
    let first = running.first_token();
    // Absolute paths: the reader may be in another directory.
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
    announce(if on_terminal { banner.human() } else { banner.plain() }.trim_end_matches('\n').to_owned());
}
