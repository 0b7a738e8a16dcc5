//! Databases on the PostgreSQL server of the tests, and its absence.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Needs;
use crate::error::Result;
use crate::interrupt::{Group, Interrupts};

impl Needs {
    /// Makes an empty database; its address.
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

    /// Writes a database to a file.
    pub(crate) fn dump_database(&self, name: &str, file: &Path, interrupts: &Interrupts) -> Result {
        let mut command = Command::new(self.bin.join("pg_dump"));
        command.arg("--file").arg(file).arg(self.address_of(name)).stdin(Stdio::null());
        interrupts.run(&mut command, Group::Own)
    }

    /// Shell commands that freeze all of the server's processes, and thaw them.
    pub(crate) fn freeze_and_thaw(&self) -> [String; 2] {
        let id = self.postgres.pid();
        // Its children have sessions of their own, so that no group holds them all. Some end while this runs.
        ["STOP", "CONT"]
            .map(|signal| format!("for p in $(cat /proc/{id}/task/{id}/children) {id}; do kill -{signal} $p; done; true"))
    }

    fn address_of(&self, name: &str) -> String {
        let server = self.postgres.url();
        server.rsplit_once('/').map_or_else(|| server.clone(), |(base, _)| format!("{base}/{name}"))
    }
}
