//! Tests of the parts of packages: completions, manual pages, the health check, and service files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatsphere");

fn root() -> PathBuf {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    Path::new(&manifest).ancestors().nth(2).unwrap().to_owned()
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).current_dir(directory).env_clear().stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A server on a free port. Dropping this kills it.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args([&["serve", "--port", "0"], arguments].concat())
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()));
        let address = addresses.next().expect("the server tells where it listens");
        Self { child, port: address.rsplit(':').next().unwrap().trim_end_matches('/').to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_shell_gets_its_completions() {
    let directory = TempDir::new().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(directory.path(), &["completions", shell]);
        assert!(script.status.success());
        let script = text(&script.stdout);
        assert!(script.contains("chatsphere") && script.contains("doctor") && script.contains("data-dir"), "{shell}: {script}");
    }
    assert!(!run(directory.path(), &["completions", "cmd"]).status.success());
}

#[test]
fn the_manual_is_printed_or_written() {
    let directory = TempDir::new().unwrap();
    let page = text(&run(directory.path(), &["man"]).stdout);
    assert!(page.starts_with(".ie") && page.contains(".TH chatsphere 1"), "{page}");
    let pages = directory.path().join("man1");
    assert!(run(directory.path(), &["man", "--directory", pages.to_str().unwrap()]).status.success());
    for name in ["chatsphere.1", "chatsphere-serve.1", "chatsphere-token-create.1"] {
        assert!(fs::read_to_string(pages.join(name)).unwrap().contains(".TH"), "{name}");
    }
    fs::write(directory.path().join("file"), "").unwrap();
    let refused = run(directory.path(), &["man", "--directory", "file"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("file can't be written"), "{refused:?}");
}

#[test]
fn the_health_check_finds_a_running_server() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path(), &[]);
    for arguments in [&["healthcheck", "--port", &server.port][..], &["healthcheck", "--ready", "--port", &server.port]] {
        let asked = run(directory.path(), arguments);
        assert!(asked.status.success(), "{}", text(&asked.stderr));
    }
    // For a server that listens on all addresses, the health check uses the loopback address.
    assert!(run(directory.path(), &["healthcheck", "--host", "0.0.0.0", "--port", &server.port]).status.success());
    let port = server.port.clone();
    drop(server);
    let asked = run(directory.path(), &["healthcheck", "--port", &port]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("does not answer"), "{asked:?}");
}

#[test]
fn the_health_check_accepts_the_configured_certificate() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["chat.example".to_owned()]).unwrap();
        fs::write(directory.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
        fs::write(directory.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    write("own");
    write("other");
    let server = Server::start(directory.path(), &["--tls-cert", "own.pem", "--tls-key", "own.key"]);
    let asked = |name: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        run(directory.path(), &["healthcheck", "--port", &server.port, "--tls-cert", &certificate, "--tls-key", &key])
    };
    let own = asked("own");
    assert!(own.status.success(), "{}", text(&own.stderr));
    assert_eq!(asked("other").status.code(), Some(1));
    assert_eq!(run(directory.path(), &["healthcheck", "--port", &server.port]).status.code(), Some(1));
}

/// A misspelt variable in a package would be ignored, or fail the first start.
#[test]
fn packages_use_existing_settings() {
    let directory = TempDir::new().unwrap();
    let settings = text(&run(directory.path(), &["config", "docs"]).stdout);
    let mut seen = 0;
    for file in ["Dockerfile", "compose.yaml", "packaging/chatsphere.service"] {
        let package = fs::read_to_string(root().join(file)).unwrap();
        let names = package.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.starts_with("CHATSPHERE_"));
        for name in names {
            assert!(settings.contains(&format!("`{name}`")), "{file} sets {name}, which is no setting");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// `systemd-analyze` is a part of systemd; without it nothing can check the unit.
#[test]
fn the_unit_is_confined() {
    let unit = root().join("packaging/chatsphere.service");
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&unit).output();
    let Ok(rated) = analyze(&["security", "--offline=true", "--threshold=25", "--no-pager"]) else { return };
    assert!(rated.status.success(), "{}", text(&rated.stdout));
}
