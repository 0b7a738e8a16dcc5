//! A PostgreSQL server for one test, which the test may stop, kill and freeze.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fixture::left_out;

/// The time-out for starting or stopping a server.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct PostgresServer {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    /// The user that runs the server, because root may not.
    account: Option<(u32, u32)>,
    running: Option<Child>,
}

/// The ways to stop a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Closes connections and shuts down.
    Fast,
    /// Stops at once, like a crash.
    Immediate,
}

impl PostgresServer {
    /// Starts a server. Returns `None` if this machine has none and tests may be skipped.
    pub(crate) async fn start() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.run().await;
        Some(server)
    }

    /// The same with TLS.
    pub(crate) async fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        let mut server = Self::prepare()?;
        let data = server.data();
        std::fs::write(data.join("server.crt"), certificate).unwrap();
        let key_file = data.join("server.key");
        std::fs::write(&key_file, key).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = server.account {
            std::os::unix::fs::chown(&key_file, Some(uid), Some(gid)).unwrap();
        }
        let mut settings = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        settings.write_all(b"ssl = on\n").unwrap();
        server.run().await;
        Some(server)
    }

    /// Starts a standby of this server.
    pub(crate) async fn start_standby(&self) -> Self {
        let dir = Self::directory(self.account);
        let mut standby = Self { bin: self.bin.clone(), dir, port: free_port(), account: self.account, running: None };
        let data = standby.data();
        let copied = standby
            .program("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", &self.url(), "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        standby.run().await;
        standby
    }

    /// Promotes this standby to the primary.
    pub(crate) async fn promote(&self) {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one("SELECT pg_promote()", &[]).await.unwrap();
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    fn directory(account: Option<(u32, u32)>) -> TempDir {
        let dir = tempfile::Builder::new().prefix("chatsphere-store-pg-").tempdir().unwrap();
        if let Some((uid, gid)) = account {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        dir
    }

    /// Creates a server's directory, without starting it.
    fn prepare() -> Option<Self> {
        let Some(bin) = std::env::var_os("CHATSPHERE_TEST_PG_BIN") else {
            left_out("CHATSPHERE_TEST_PG_BIN names no directory with PostgreSQL's programs");
            return None;
        };
        let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
        let account = number("CHATSPHERE_TEST_PG_UID").zip(number("CHATSPHERE_TEST_PG_GID"));
        let server = Self { bin: bin.into(), dir: Self::directory(account), port: free_port(), account, running: None };
        let data = server.data();
        let init = server
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server again.
    pub(crate) async fn run(&mut self) {
        assert!(self.running.is_none());
        let data = self.data();
        let port = self.port.to_string();
        let mut program = self.program("postgres");
        program.arg("-D").arg(&data).args(["-p", &port, "-k", "", "-c", "listen_addresses=127.0.0.1"]);
        self.running = Some(program.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.is_err() {
            assert!(Instant::now() < until, "the server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn stop(&mut self, how: Stop) {
        if let Some(mut child) = self.running.take() {
            signal(child.id(), if matches!(how, Stop::Fast) { "INT" } else { "QUIT" });
            child.wait().unwrap();
        }
    }

    /// Stops all processes of the server with SIGSTOP, like a machine that hangs.
    pub(crate) fn freeze(&self) {
        self.signal_all("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        let Some(child) = &self.running else { return };
        let leader = child.id();
        signal(leader, name);
        let children = std::fs::read_to_string(format!("/proc/{leader}/task/{leader}/children")).unwrap();
        for child in children.split_whitespace() {
            signal(child.parse().unwrap(), name);
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if name != "postgres" {
            command.stderr(Stdio::piped());
        }
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn signal(process: u32, name: &str) {
    // A process that has ended needs no signal.
    let _ = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).stderr(Stdio::null()).status().unwrap();
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.thaw();
        self.stop(Stop::Immediate);
    }
}
