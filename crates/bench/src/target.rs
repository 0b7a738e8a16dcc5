use std::path::PathBuf;

use chatsphere_client::Client;

use crate::error::RunError;
use crate::process::ServerProcesses;

/// The server under test.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:3001")]
    pub(crate) url: String,
    /// A file with a CLIENT token, such as `client-token` in the server's data directory.
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: PathBuf,
    /// The server's process id, for its memory and the CPU time of it and its children. Further process ids, such as that of
    /// PostgreSQL's postmaster, add CPU time.
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Vec<u32>,
}

impl Target {
    /// A client with the CLIENT token.
    pub(crate) fn client(&self) -> Result<Client, RunError> {
        self.client_of(&self.token()?)
    }

    /// The CLIENT token.
    pub(crate) fn token(&self) -> Result<String, RunError> {
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|source| RunError::TokenFile { path: self.token_file.clone(), source })?;
        Ok(token.trim().to_owned())
    }

    /// A client with another token.
    pub(crate) fn client_of(&self, token: &str) -> Result<Client, RunError> {
        Client::new(&self.url, token).map_err(|source| RunError::Call { what: "the server's address", source })
    }

    pub(crate) fn server(&self) -> Option<ServerProcesses> {
        (!self.server_pid.is_empty()).then(|| ServerProcesses::new(self.server_pid.clone()))
    }
}
