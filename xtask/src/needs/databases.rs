//! Creates, dumps and removes databases on the tests' PostgreSQL server, and simulates its outage.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Needs;
use crate::error::Result;
use crate::interrupt::{Group, Interrupts};

impl Needs {
    /// Creates an empty database; returns its address.
    pub(crate) fn make_database(&self, name: &str, interrupts: &Interrupts) -> Result<String> {
        let server = self.postgres.url();
        let mut command = Command::new(self.bin.join("createdb"));
        command.args(["--maintenance-db", &server, name]).stdin(Stdio::null());
        interrupts.run(&mut command, Group::Own)?;
        Ok(self.address_of(name))
    }

    /// Removes a database.
    pub(crate) fn drop_database(&self, name: &str, interrupts: &Interrupts) -> Result {
        let server = self.postgres.url();
        let mut command = Command::new(self.bin.join("dropdb"));
        command.args(["--force", "--maintenance-db", &server, name]).stdin(Stdio::null());
        interrupts.run(&mut command, Group::Own)
    }

    /// Dumps a database to a file.
    pub(crate) fn dump_database(&self, name: &str, file: &Path, interrupts: &Interrupts) -> Result {
        let mut command = Command::new(self.bin.join("pg_dump"));
        command.arg("--file").arg(file).arg(self.address_of(name)).stdin(Stdio::null());
        interrupts.run(&mut command, Group::Own)
    }

    /// Shell commands that freeze and thaw all of the server's processes.
    pub(crate) fn freeze_and_thaw(&self) -> [String; 2] {
        let id = self.postgres.pid();
        // Its children have separate sessions, so no process group contains all of them. Some may end meanwhile.
        ["STOP", "CONT"]
            .map(|signal| format!("for p in $(cat /proc/{id}/task/{id}/children) {id}; do kill -{signal} $p; done; true"))
    }

    fn address_of(&self, name: &str) -> String {
        let server = self.postgres.url();
        server.rsplit_once('/').map_or_else(|| server.clone(), |(base, _)| format!("{base}/{name}"))
    }
}
