//! The server's process, which is killed and started again on the same port.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use chatsphere_bench::error::RunError;

/// How long a start may take, with all attempts.
const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// What the server says when it is ready.
const READY: &str = "listening on ";

/// How to start it.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) database_url: Option<String>,
    /// A small bound of what may wait for a slow client.
    pub(crate) small_queue: bool,
}

/// A server of this run's own.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    port: u16,
    url: String,
    child: Child,
}

impl Server {
    pub(crate) async fn start(program: Program) -> Result<Self, RunError> {
        std::fs::create_dir_all(&program.data_dir)
            .map_err(|source| RunError::Io { what: "making the data directory", source })?;
        let mut child = spawn(&program, 0)?;
        let Some(url) = ready(&mut child).await else {
            return Err(RunError::Unexpected(format!("the server did not start: see {}", log(&program).display())));
        };
        let port = url.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse().ok());
        let port = port.ok_or_else(|| RunError::Unexpected(format!("the server listens on {url:?}, which names no port")))?;
        Ok(Self { program, port, url, child })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it as a power failure would, and starts it again; `again_after`: kills it once more while it starts.
    pub(crate) async fn kill_and_start(&mut self, again_after: Option<Duration>) -> Result<(), RunError> {
        self.kill().await?;
        if let Some(after) = again_after {
            self.child = spawn(&self.program, self.port)?;
            sleep(after).await;
            self.kill().await?;
        }
        // Another program may hold the port for a moment, and the database may be away.
        let until = Instant::now() + START;
        while Instant::now() < until {
            self.child = spawn(&self.program, self.port)?;
            if ready(&mut self.child).await.is_some() {
                return Ok(());
            }
            self.kill().await?;
            sleep(PAUSE).await;
        }
        let log = log(&self.program);
        Err(RunError::Unexpected(format!("the server was killed and does not start again: see {}", log.display())))
    }

    async fn kill(&mut self) -> Result<(), RunError> {
        self.child.kill().await.map_err(|source| RunError::Io { what: "killing the server", source })
    }
}

fn spawn(program: &Program, port: u16) -> Result<Child, RunError> {
    let failed = |source: io::Error| RunError::Io { what: "starting the server", source };
    let data_dir = std::path::absolute(&program.data_dir).map_err(failed)?;
    let errors = File::options().create(true).append(true).open(log(program)).map_err(failed)?;
    let mut command = Command::new(std::path::absolute(&program.path).map_err(failed)?);
    command.args(["serve", "--port", &port.to_string(), "--data-dir"]).arg(&data_dir);
    // A `.env` or `chatsphere.toml` where the caller is must not change what is tested.
    command.current_dir(&data_dir).env("CHATSPHERE_RATE_LIMIT", "off");
    command.env_remove("DATABASE_URL").env_remove("PORT").env_remove("CHATSPHERE_HOST");
    if let Some(url) = &program.database_url {
        command.env("DATABASE_URL", url);
    }
    if program.small_queue {
        command.env("CHATSPHERE_OUTBOUND_QUEUE_BYTES", "256KiB");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true);
    command.spawn().map_err(failed)
}

/// Waits until it listens, and tells where. `None` if it ended instead.
async fn ready(child: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let url = timeout(START, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(url) = line.strip_prefix(READY) {
                return Some(url.to_owned());
            }
        }
        None
    });
    let url = url.await.ok().flatten()?;
    // Somebody has to read what else it says.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(url)
}

fn log(program: &Program) -> PathBuf {
    program.data_dir.join("verify-server.log")
}
