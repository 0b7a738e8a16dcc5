//! Stops and restarts the server and the database while everything else continues.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::server::Server;
use chatsphere_bench::error::RunError;

/// Commands that stop and start the database.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseCommands {
    pub(crate) stop: String,
    pub(crate) start: String,
}

/// Injects one fault at a time: the next begins when the previous one is over.
#[derive(Debug)]
pub(crate) struct Faults {
    server: Option<Server>,
    recovery: Option<JoinHandle<Result<Option<Server>, RunError>>>,
    database: Option<DatabaseCommands>,
    pub(crate) kills: usize,
    pub(crate) database_stops: usize,
    /// Actions of the server that no fault explains.
    pub(crate) wrong: Vec<String>,
}

impl Faults {
    pub(crate) fn new(server: Option<Server>, database: Option<DatabaseCommands>) -> Self {
        Self { server, recovery: None, database, kills: 0, database_stops: 0, wrong: Vec::new() }
    }

    pub(crate) async fn kill(&mut self, again_after: Option<Duration>) -> Result<(), RunError> {
        self.recovered().await?;
        let Some(mut server) = self.server.take() else { return Ok(()) };
        self.kills += 1 + usize::from(again_after.is_some());
        self.recovery = Some(tokio::spawn(async move {
            server.kill_and_start(again_after).await?;
            Ok(Some(server))
        }));
        Ok(())
    }

    pub(crate) async fn stop_database(&mut self, away: Duration) -> Result<(), RunError> {
        self.recovered().await?;
        let Some(commands) = self.database.clone() else { return Ok(()) };
        self.database_stops += 1;
        let server = self.server.take();
        self.recovery = Some(tokio::spawn(async move {
            execute(&commands.stop).await?;
            sleep(away).await;
            execute(&commands.start).await?;
            Ok(server)
        }));
        Ok(())
    }

    /// Waits until no fault is active.
    pub(crate) async fn recovered(&mut self) -> Result<(), RunError> {
        if let Some(recovery) = self.recovery.take() {
            self.server = recovery.await.map_err(|error| RunError::Unexpected(format!("a fault did not end: {error}")))??;
        }
        if let Some(status) = self.server.as_mut().and_then(Server::ended) {
            self.wrong.push(format!("[server] it ended by itself ({status}): see verify-server.log in its data directory"));
            return self.revive().await;
        }
        Ok(())
    }

    async fn revive(&mut self) -> Result<(), RunError> {
        match &mut self.server {
            Some(server) => server.kill_and_start(None).await,
            None => Ok(()),
        }
    }
}

async fn execute(command: &str) -> Result<(), RunError> {
    let failed = |source| RunError::Io { what: "a command for the database", source };
    let status =
        Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).status().await.map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(RunError::Unexpected(format!("the command for the database {command:?} failed ({status})")))
    }
}
