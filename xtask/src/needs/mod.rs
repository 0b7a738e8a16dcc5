//! Services that the tests need beyond Rust and a C compiler: finds or installs them, starts and stops them.

mod apt;
mod chromium;
mod databases;
mod look_up;
mod nats;
mod node;
mod port;
mod postgres;
mod postgres_server;
mod python;

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Result, TaskError};
use crate::interrupt::Interrupts;
use crate::paths;
use apt::Apt;
pub(crate) use postgres_server::PostgresServer;

/// Which services are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All: tests that lack something fail.
    All,
    /// Only PostgreSQL: tests that need something else print a note and are skipped.
    PostgresOnly,
}

/// The services of the tests, running until this is dropped.
pub(crate) struct Needs {
    postgres: PostgresServer,
    /// The directory of PostgreSQL's programs.
    bin: PathBuf,
    variables: Vec<(&'static str, OsString)>,
}

impl Needs {
    /// Finds or installs the services, and starts PostgreSQL.
    pub(crate) fn meet(wanted: Wanted, interrupts: &Interrupts) -> Result<Self> {
        let mut variables: Vec<(&'static str, OsString)> = Vec::new();
        let installing = one_at_a_time()?;
        let apt = Apt::new(interrupts);
        let bin = postgres::find_or_install(&apt)?;
        variables.push(("CHATSPHERE_TEST_PG_BIN", bin.clone().into()));
        if wanted == Wanted::All {
            let nats = nats::find_or_install(&apt)?;
            variables.push(("CHATSPHERE_TEST_NATS_SERVER", nats.into()));
            let chromium = chromium::find_or_install(&apt)?;
            variables.push(("CHATSPHERE_TEST_CHROMIUM", chromium.into()));
            let python = python::find_or_install(&apt, interrupts)?;
            variables.push(("CHATSPHERE_TEST_PYTHON", python.into()));
            let node = node::find_or_install(&apt, interrupts)?;
            variables.push(("CHATSPHERE_TEST_NODE", node.program.into()));
            variables.push(("CHATSPHERE_TEST_E2E", node.tests.into()));
            variables.push(("CHATSPHERE_TEST_ALL", "1".into()));
        }
        drop(installing);
        let postgres = PostgresServer::start(&bin, interrupts)?;
        variables.push(("CHATSPHERE_TEST_POSTGRES", postgres.url().into()));
        if let Some(account) = postgres.account() {
            variables.push(("CHATSPHERE_TEST_PG_UID", account.uid.to_string().into()));
            variables.push(("CHATSPHERE_TEST_PG_GID", account.gid.to_string().into()));
        }
        Ok(Self { postgres, bin, variables })
    }

    /// The PostgreSQL server.
    pub(crate) fn postgres(&self) -> &PostgresServer {
        &self.postgres
    }

    /// Passes the locations of everything to the program, in its environment.
    pub(crate) fn tell(&self, command: &mut Command) {
        for (name, value) in &self.variables {
            command.env(name, value);
        }
    }
}

/// A lock that prevents concurrent installations into a shared target directory.
fn one_at_a_time() -> Result<File> {
    let path = paths::test_tools()?.join("lock");
    let file = File::create(&path).map_err(TaskError::at("making", &path))?;
    file.lock().map_err(TaskError::at("locking", &path))?;
    Ok(file)
}
