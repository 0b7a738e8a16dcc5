//! A real server, and the program under test.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BENCH: &str = env!("CARGO_BIN_EXE_chatsphere-bench");

/// A server without rate limits, in a directory of its own. Its program is next to this package's, built by `cargo test
/// --workspace`.
pub(crate) struct Server {
    child: Option<Child>,
    program: PathBuf,
    pub(crate) directory: TempDir,
    database: Option<String>,
    url: String,
}

impl Server {
    /// Starts a server; `None` if it is not built.
    pub(crate) fn start(database: Option<&str>) -> Option<Self> {
        let program = Path::new(BENCH).with_file_name("chatsphere");
        if !program.exists() {
            left_out("the server's program is not built: run `cargo test --workspace`");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self { child: None, program, directory, database: database.map(str::to_owned), url: String::new() };
        server.serve();
        Some(server)
    }

    /// Starts the server, also after [`Server::stop`].
    pub(crate) fn serve(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--port", "0", "--data-dir", "data"]).current_dir(self.directory.path()).env_clear();
        command.env("CHATSPHERE_RATE_LIMIT", "off").stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(url) = &self.database {
            command.env("DATABASE_URL", url);
        }
        let mut child = command.spawn().unwrap();
        let banner = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        for line in banner {
            if let Some(address) = line.unwrap().strip_prefix("listening on http://") {
                self.url = format!("http://{address}");
                return;
            }
        }
        panic!("the server ended before it listened");
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Runs a command, which must find no violation; returns its report.
    pub(crate) fn measure<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Value {
        let output = self.run(arguments);
        let report = report(&output);
        assert!(output.status.success(), "{report} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(report["violations"], serde_json::json!([]), "{report}");
        report
    }

    /// Runs a command.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.run_by(Command::new(BENCH), arguments)
    }

    /// Runs a command through another program, which gets it as arguments.
    pub(crate) fn run_by<S: AsRef<OsStr>>(&self, mut command: Command, arguments: impl IntoIterator<Item = S>) -> Output {
        let pid = self.child.as_ref().unwrap().id().to_string();
        command.args(arguments).args(["--json", "--url", &self.url, "--server-pid", &pid, "--token-file"]);
        command.arg(self.directory.path().join("data/client-token")).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A database on the tests' PostgreSQL server, if there is one.
pub(crate) fn postgres(test: &str) -> Option<Database> {
    let Ok(server) = env::var("CHATSPHERE_TEST_POSTGRES") else {
        left_out("CHATSPHERE_TEST_POSTGRES names no PostgreSQL server");
        return None;
    };
    let name = format!("{test}_{:016x}", rand::random::<u64>());
    execute(&server, &format!("CREATE DATABASE {name}"));
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(Database { url: format!("{base}/{name}"), name, server })
}

/// A database that is dropped with its test.
pub(crate) struct Database {
    server: String,
    name: String,
    pub(crate) url: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        execute(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// The JSON that a run printed.
pub(crate) fn report(output: &Output) -> Value {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{errors}"))
}

/// A figure of a report.
pub(crate) fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// Reports a skipped test, or fails if no test may be skipped.
pub(crate) fn left_out(why: &str) {
    assert!(env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
    println!("left out: {why}");
}

fn execute(server: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statement).await.unwrap();
    });
}
