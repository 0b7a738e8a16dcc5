//! The server's process, which is killed and restarted on the same port.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use chatsphere_bench::error::RunError;

/// Timeout of a start, including retries.
const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// The server's output when it is ready.
const READY: &str = "listening on ";

/// How to start the server.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) database_url: Option<String>,
    /// Uses a small write queue bound.
    pub(crate) small_queue: bool,
}

/// A server that belongs to this run.
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

    /// The exit status, if it ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills the server as a power failure would, and starts it again; after `again_after` kills it once more during the start.
    pub(crate) async fn kill_and_start(&mut self, again_after: Option<Duration>) -> Result<(), RunError> {
        self.kill().await?;
        if let Some(after) = again_after {
            self.child = spawn(&self.program, self.port)?;
            sleep(after).await;
            self.kill().await?;
        }
        // Another program may use the port briefly, and the database may be down.
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
    // A `.env` or `chatsphere.toml` in the caller's directory must not affect the test.
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

/// Waits until it is listening, and returns the address. `None` if it ended.
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
    // Its remaining output must be drained.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(url)
}

fn log(program: &Program) -> PathBuf {
    program.data_dir.join("verify-server.log")
}
