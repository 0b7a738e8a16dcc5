//! A server to measure, without rate limits, in a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts, Running};

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);

/// A server's data, kept over several starts.
pub(super) struct Stand {
    directory: TempDir,
    /// The PostgreSQL URL; `None` means SQLite in the data directory.
    database: Option<String>,
}

/// A running server.
pub(super) struct Server {
    running: Running,
    pub(super) url: String,
}

impl Stand {
    pub(super) fn new(database: Option<String>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("chatsphere-bench-").tempdir();
        Ok(Self { directory: directory.map_err(TaskError::io("making a temporary directory"))?, database })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.directory().join("data").join("client-token")
    }

    /// The database URL for the example `fill`.
    pub(super) fn database_url(&self) -> String {
        let file = self.directory().join("data").join("chatsphere.db");
        self.database.clone().unwrap_or_else(|| format!("sqlite:{}", file.display()))
    }

    /// Starts the server on a free port and waits until it listens.
    pub(super) fn start(&self, program: &Path, interrupts: &Interrupts) -> Result<Server> {
        let said = self.directory().join("banner");
        let output = File::create(&said).map_err(TaskError::at("making", &said))?;
        let mut command = Command::new(program);
        // The caller's environment is cleared, because it may contain settings.
        command.args(["serve", "--port", "0", "--data-dir", "data"]).current_dir(self.directory()).env_clear();
        command.env("CHATSPHERE_RATE_LIMIT", "off").env("CHATSPHERE_LOG", "warn");
        command.stdin(Stdio::null()).stdout(output);
        if let Some(url) = &self.database {
            command.env("DATABASE_URL", url);
        }
        let mut running = Running::start(&mut command, Group::Own)?;
        let until = Instant::now() + START;
        while Instant::now() < until {
            let banner = std::fs::read_to_string(&said).unwrap_or_default();
            if let Some(url) = listening(&banner) {
                return Ok(Server { running, url });
            }
            if let Some(status) = running.ended()? {
                return Err(TaskError::failed(format!("the server ended before it listened ({status})")));
            }
            interrupts.sleep(Duration::from_millis(20))?;
        }
        Err(TaskError::failed("the server did not listen in time"))
    }
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.running.id()
    }

    /// Stops the server gracefully.
    pub(super) fn stop(mut self) {
        self.running.stop(Signal::TERM, STOP);
    }
}

/// The address in a banner, once its line is complete.
fn listening(banner: &str) -> Option<String> {
    let lines = banner.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.filter_map(|line| line.strip_prefix("listening on ")).find(|url| url.starts_with("http://")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::listening;

    #[test]
    fn the_address_is_read_once_its_line_is_complete() {
        let banner = "ChatSphere 0.1.0\nlistening on http://127.0.0.1:4321\nlistening on 127.0.0.1 only\n";
        assert_eq!(listening(banner).as_deref(), Some("http://127.0.0.1:4321"));
        assert_eq!(listening("ChatSphere 0.1.0\nlistening on http://127.0.0.1:43"), None);
    }
}
