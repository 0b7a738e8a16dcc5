//! `cargo xtask dev`: a server that restarts when its sources change.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::cargo::cargo;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts, Running};
use crate::sources::Snapshot;
use crate::{paths, say};

const POLL: Duration = Duration::from_millis(500);
const GOODBYE: Duration = Duration::from_secs(10);

/// Serves until interrupted; `extra` is passed to `chatsphere serve`.
pub(crate) fn run(extra: &[String], interrupts: &Interrupts) -> Result {
    let dirs = [paths::root()?.join("crates")];
    let mut server: Option<Running> = None;
    loop {
        // Taken before the build, so that changes during it cause another build.
        let built = settled(&dirs, interrupts)?;
        say::step("building");
        match interrupts.run(cargo()?.args(["build", "-p", "chatsphere"]), Group::Shared) {
            Ok(()) => {
                // The old server stops first, because it holds the data directory and the port.
                if let Some(mut old) = server.take() {
                    old.stop(Signal::TERM, GOODBYE);
                }
                server = Some(Running::start(&mut serve(extra)?, Group::Own)?);
            }
            Err(TaskError::Program { .. }) if server.is_some() => {
                say::warn("the build failed; the server from before goes on");
            }
            Err(TaskError::Program { .. }) => say::warn("the build failed; the next change starts another"),
            Err(error) => return Err(error),
        }
        wait_for_change(&built, &dirs, &mut server, interrupts)?;
    }
}

fn serve(extra: &[String]) -> Result<Command> {
    let mut command = cargo()?;
    command.args(["run", "--quiet", "-p", "chatsphere", "--", "serve"]).args(extra).stdin(Stdio::null());
    Ok(command)
}

fn look(dirs: &[PathBuf]) -> Snapshot {
    Snapshot::of(dirs.iter().map(PathBuf::as_path))
}

/// Waits until two consecutive snapshots are equal: an editor or git may write many files.
fn settled(dirs: &[PathBuf], interrupts: &Interrupts) -> Result<Snapshot> {
    let mut last = look(dirs);
    loop {
        interrupts.sleep(POLL / 2)?;
        let now = look(dirs);
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

fn wait_for_change(built: &Snapshot, dirs: &[PathBuf], server: &mut Option<Running>, interrupts: &Interrupts) -> Result {
    loop {
        interrupts.sleep(POLL)?;
        if let Some(file) = built.differs_in(&look(dirs)) {
            say::step(&format!("{} changed", file.display()));
            return Ok(());
        }
        if let Some(status) = server.as_mut().map(Running::ended).transpose()?.flatten() {
            *server = None;
            say::warn(&format!("the server ended ({status}); the next change starts it again"));
        }
    }
}
