//! Signal handling of the server.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::start_error::StartError;

/// Signals without a meaning for this server, which would otherwise end it. SIGXFSZ accompanies a write beyond the file size
/// limit, which the write's own error reports too.
const MEANINGLESS: [(Number, &str); 5] = [
    (Number::USR1, "SIGUSR1 means nothing to this server"),
    (Number::USR2, "SIGUSR2 means nothing to this server"),
    (Number::ALARM, "SIGALRM means nothing to this server"),
    (Number::IO, "SIGIO means nothing to this server"),
    (Number::XFSZ, "a file has grown to the limit of its size (ulimit -f); SIGXFSZ was ignored"),
];

/// SIGINT and SIGTERM. While it exists, other signals do not end the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs the handlers. With TLS, SIGHUP reloads the certificates.
    pub(super) fn listen(tls: bool) -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(StartError::Machine);
        let hangup = listen(SignalKind::hangup())?;
        if !tls {
            tokio::spawn(ignore(hangup, "SIGHUP was ignored: it reads certificates again, and none are set"));
        }
        for (number, why) in MEANINGLESS {
            tokio::spawn(ignore(listen(SignalKind::from_raw(number.as_raw()))?, why));
        }
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn ignore(mut signal: Signal, why: &'static str) {
    while signal.recv().await.is_some() {
        tracing::info!("{why}");
    }
}
