//! What the server does at signals.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::start_error::StartError;

/// Signals that would end a process that does not listen for them, and mean nothing here. SIGXFSZ comes with a write beyond the
/// limit of a file's size, which the write's own error tells too.
const MEANINGLESS: [(Number, &str); 5] = [
    (Number::USR1, "SIGUSR1 means nothing to this server"),
    (Number::USR2, "SIGUSR2 means nothing to this server"),
    (Number::ALARM, "SIGALRM means nothing to this server"),
    (Number::IO, "SIGIO means nothing to this server"),
    (Number::XFSZ, "a file has grown to the limit of its size (ulimit -f); SIGXFSZ was ignored"),
];

/// SIGINT and SIGTERM. While it lives, other signals don't end the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on. With TLS, SIGHUP is for the certificates.
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
