//! A PostgreSQL server for the tests, removed at their end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{look_up, port};
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts, Running};
use crate::say;

const TRIES: u32 = 5;
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(10);

/// The user that runs the server if this process is root: PostgreSQL refuses to run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user id.
    pub(crate) uid: u32,
    /// The group id.
    pub(crate) gid: u32,
}

/// A running server. Dropping it stops it and removes its files.
pub(crate) struct PostgresServer {
    // Fields are dropped in this order: the server stops before its directory is removed.
    running: Running,
    _dir: TempDir,
    bin: PathBuf,
    port: u16,
    account: Option<Account>,
}

impl PostgresServer {
    /// Creates an empty cluster in a temporary directory and starts a server on a free loopback port.
    pub(crate) fn start(bin: &Path, interrupts: &Interrupts) -> Result<Self> {
        let account = account()?;
        let dir = tempfile::Builder::new()
            .prefix("chatsphere-test-pg-")
            .tempdir()
            .map_err(TaskError::io("making a temporary directory"))?;
        if let Some(Account { uid, gid }) = account {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).map_err(TaskError::at("handing over", dir.path()))?;
        }
        init(bin, dir.path(), account, interrupts)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = port::free()?;
            let mut running = launch(bin, dir.path(), port, account)?;
            if wait_until_ready(&mut running, dir.path(), interrupts)? {
                say::step(&format!("started PostgreSQL on 127.0.0.1:{port}"));
                return Ok(Self { running, _dir: dir, bin: bin.to_path_buf(), port, account });
            }
            // Another process may have taken the port in between.
            if tries == TRIES {
                return Err(TaskError::failed(format!("PostgreSQL did not start:\n{}", end_of(&log(dir.path())))));
            }
        }
    }

    /// The URL for a superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The process id of the postmaster.
    pub(crate) fn pid(&self) -> u32 {
        self.running.id()
    }

    /// Creates an empty database; returns its URL for a superuser.
    pub(crate) fn create_database(&self, name: &str, interrupts: &Interrupts) -> Result<String> {
        let mut command = Command::new(self.bin.join("createdb"));
        command.args(["--host=127.0.0.1", "--username=postgres", "--port", &self.port.to_string(), name]);
        interrupts.run(&mut command, Group::Own)?;
        Ok(format!("postgresql://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// The user that runs it, if not this process's.
    pub(crate) fn account(&self) -> Option<Account> {
        self.account
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // SIGINT is a "fast" shutdown, SIGQUIT an immediate one. Only the postmaster gets it; it signals its children.
        for signal in [Signal::INT, Signal::QUIT] {
            self.running.signal_leader(signal);
            let until = Instant::now() + STOP;
            while Instant::now() < until {
                if !matches!(self.running.ended(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn account() -> Result<Option<Account>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    // Debian's package creates the user `postgres`; a server built from source may lack it.
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(TaskError::io("reading /etc/passwd"))?;
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| in_passwd(&passwd, name))
        .map(Some)
        .ok_or_else(|| TaskError::failed("root may not run PostgreSQL, and there is no user `postgres` to run it as"))
}

fn in_passwd(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

fn init(bin: &Path, dir: &Path, account: Option<Account>, interrupts: &Interrupts) -> Result {
    let mut command = Command::new(bin.join("initdb"));
    command
        .arg("--pgdata")
        .arg(data(dir))
        // The cluster is temporary, so initdb need not sync; the server itself does.
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    prepare(&mut command, dir, account)?;
    let status = interrupts.status(&mut command, Group::Own)?;
    if status.success() {
        return Ok(());
    }
    Err(TaskError::failed(format!("initdb failed ({status}):\n{}", end_of(&log(dir)))))
}

fn launch(bin: &Path, dir: &Path, port: u16, account: Option<Account>) -> Result<Running> {
    let server = bin.join("postgres");
    // If this process is killed, the kernel signals the server to quit.
    let mut command = match look_up::on_path(&["setpriv"]) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "QUIT", "--"]).arg(server);
            command
        }
        None => Command::new(server),
    };
    command.arg("-D").arg(data(dir));
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", dir.display()),
        "max_connections=300".to_owned(),
    ] {
        command.arg("-c").arg(setting);
    }
    prepare(&mut command, dir, account)?;
    Running::start(&mut command, Group::Own)
}

fn prepare(command: &mut Command, dir: &Path, account: Option<Account>) -> Result {
    let log = File::options().create(true).append(true).open(log(dir)).map_err(TaskError::io("opening PostgreSQL's log"))?;
    let again = log.try_clone().map_err(TaskError::io("opening PostgreSQL's log"))?;
    command.stdin(Stdio::null()).stdout(log).stderr(again).current_dir(dir);
    for (name, _) in std::env::vars_os() {
        // PGDATA, PGPORT and similar variables refer to another server.
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    Ok(())
}

/// True once it accepts connections, false if it ended.
fn wait_until_ready(running: &mut Running, dir: &Path, interrupts: &Interrupts) -> Result<bool> {
    let until = Instant::now() + START;
    while Instant::now() < until {
        if running.ended()?.is_some() {
            return Ok(false);
        }
        let file = std::fs::read_to_string(data(dir).join("postmaster.pid")).unwrap_or_default();
        if says_ready(&file, running.id()) {
            return Ok(true);
        }
        interrupts.sleep(Duration::from_millis(20))?;
    }
    Ok(false)
}

/// `postmaster.pid` has the process id in its first line and the state in its eighth, which `pg_ctl` checks too.
fn says_ready(file: &str, id: u32) -> bool {
    let mut lines = file.lines();
    lines.next().is_some_and(|line| line.trim() == id.to_string()) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn log(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn end_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(in_passwd(passwd, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(in_passwd(passwd, "post"), None);
    }

    #[test]
    fn only_our_own_server_counts_as_ready() {
        let file = "77\n/data\n1700000000\n5433\n/tmp\n127.0.0.1\n  123 0\nready   \n";
        assert!(says_ready(file, 77));
        assert!(!says_ready(file, 78));
        assert!(!says_ready(&file.replace("ready   ", "starting"), 77));
        assert!(!says_ready("", 77));
    }
}
