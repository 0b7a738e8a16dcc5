//! Tests of the program from the command line: its first and second start, its errors, and its commands beside a running
//! server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "tests say what they leave out")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[path = "cli/backup.rs"]
mod backup;
#[path = "cli/installation.rs"]
mod installation;
#[path = "cli/locks.rs"]
mod locks;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/readiness.rs"]
mod readiness;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/upgrade.rs"]
mod upgrade;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatsphere");
/// The time-out of each step. It is far above what any step takes, so only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// An empty working directory, and an environment without our settings.
struct Place {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), variables: Vec::new() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join("chatsphere-data").join(name)
    }

    fn client_token(&self) -> String {
        fs::read_to_string(self.data("client-token")).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and returns its output.
    fn answer(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.errors);
        ended.answer.trim_end().to_owned()
    }

    fn serve(&self, arguments: &[&str]) -> Server {
        let mut command = self.command(&[&["serve", "--port", "0"], arguments].concat());
        Server::start(command.stderr(Stdio::piped()))
    }
}

struct Ended {
    code: i32,
    answer: String,
    errors: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            answer: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

struct Server {
    child: Child,
    address: String,
    banner: String,
    lines: BufReader<std::process::ChildStdout>,
    errors: Option<ChildStderr>,
}

impl Server {
    /// Starts a server and waits until it listens. Its log goes where the command says.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let errors = child.stderr.take();
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !banner.contains("to let other machines in") {
            if lines.read_line(&mut banner).unwrap() == 0 {
                let mut text = String::new();
                errors.unwrap().read_to_string(&mut text).unwrap();
                panic!("the server ended: {text}");
            }
        }
        let url = banner.lines().find_map(|line| line.strip_prefix("listening on http://")).unwrap().to_owned();
        Self { child, address: url, banner, lines, errors }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the server as a supervisor does, and returns all that it wrote.
    fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), 0);
        self.written()
    }

    fn written(&mut self) -> String {
        let mut text = std::mem::take(&mut self.banner);
        self.lines.read_to_string(&mut text).unwrap();
        if let Some(errors) = &mut self.errors {
            errors.read_to_string(&mut text).unwrap();
        }
        text
    }

    /// Makes a call with a token, and returns the status and the body.
    fn get(&self, path: &str, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn post(&self, path: &str, token: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (host, length) = (&self.address, body.len());
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close");
        let call = format!("{head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(call.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Creates a room, and returns its id.
    fn room(&self, token: &str) -> String {
        let made: serde_json::Value = serde_json::from_str(&self.post("/api/rooms", token, r#"{"name":"General"}"#).1).unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    /// Asserts that the token is refused within a second, as after a change by another process.
    fn refuses_within_a_second(&self, token: &str) {
        let changed = Instant::now();
        while self.get("/api/auth/profile", token).0 != 401 {
            assert!(changed.elapsed() < Duration::from_secs(1), "still let in after a second");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_creates_everything_and_the_second_finds_it() {
    let place = Place::new();
    let server = place.serve(&[]);
    let token = place.client_token();
    assert!(server.banner.contains("chatsphere-data/client-token\n"), "{}", server.banner);
    assert_eq!(server.get("/api/users", &token).0, 200);
    assert_eq!(mode(&place.data("")), 0o700);
    for private in ["client-token", "secrets.toml", "lock", "chatsphere.db"] {
        assert_eq!(mode(&place.data(private)), 0o600, "{private}");
    }
    let secrets = fs::read_to_string(place.data("secrets.toml")).unwrap();
    let written = server.stop();
    assert!(!written.contains(&token), "the token is in what the server wrote");

    let server = place.serve(&[]);
    assert!(!server.banner.contains("first start"), "{}", server.banner);
    assert_eq!(server.get("/api/users", &token).0, 200, "the token of the first start is still good");
    assert_eq!(fs::read_to_string(place.data("secrets.toml")).unwrap(), secrets);
    assert_eq!(place.client_token(), token);
    let written = server.stop();
    assert!(written.contains("listening") && written.contains("stopped"), "{written}");
}

#[test]
fn the_first_commands_work_as_they_are_shown() {
    let place = Place::new();
    let server = place.serve(&[]);
    let url = format!("http://{}", server.address);
    let commands = chatsphere::banner::first_commands(&url, Path::new("./chatsphere-data/client-token"));
    let script = commands.join("\n");
    let output = Command::new("sh").args(["-euc", &script]).current_dir(place.directory.path()).output().unwrap();
    let ended = Ended::from(output);
    assert_eq!(ended.code, 0, "{}", ended.errors);
    assert!(ended.answer.contains("\"username\":\"first\"") && ended.answer.contains("Hello, world"), "{}", ended.answer);
    let (status, messages) = server.get("/api/messages", &place.client_token());
    assert!(status == 200 && messages.contains("Hello, world"), "{messages}");
}

#[test]
fn one_server_a_directory() {
    let place = Place::new();
    let server = place.serve(&[]);
    let second = place.run(&["serve", "--port", "0"]);
    assert_eq!(second.code, 1);
    assert!(second.errors.contains(&format!("(process {})", server.child.id())), "{}", second.errors);
    assert!(second.errors.contains("--data-dir"), "{}", second.errors);
}

#[test]
fn a_taken_port_is_reported_before_anything_is_created() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let place = Place::new();
    let ended = place.run(&["serve", "--port", &port]);
    assert_eq!(ended.code, 1);
    assert!(ended.errors.contains(&format!("127.0.0.1:{port}")) && ended.errors.contains("--port"), "{}", ended.errors);
    assert!(!place.data("chatsphere.db").exists());
}

#[test]
fn mistakes_in_the_configuration_end_the_start() {
    let place = Place::new().with("JWT_SECRET", "your-secret-key").with("CHATSPHERE_DATADIR", "x");
    fs::write(place.directory.path().join("chatsphere.toml"), "\nport = \"x\"\n").unwrap();
    let ended = place.run(&["serve", "--demo", "perhaps"]);
    assert_eq!(ended.code, 2);
    for part in [
        "chatsphere.toml:2: port: \"x\" is not a port number",
        "environment variable JWT_SECRET: it is a placeholder; make a good one with `openssl rand -hex 32`",
        "environment variable CHATSPHERE_DATADIR: there is no such setting; did you mean CHATSPHERE_DATA_DIR?",
        "--demo: \"perhaps\" is neither on nor off",
    ] {
        assert!(ended.errors.contains(part), "{part} is missing in {}", ended.errors);
    }
    assert!(!ended.errors.contains("your-secret-key") && !place.data("").exists());
}

#[test]
fn a_bus_between_nodes_that_share_no_database_is_refused() {
    let ended = Place::new().with("NATS_URL", "nats://127.0.0.1:4222").run(&["serve"]);
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("NATS_URL"), "{}", ended.errors);
}

#[test]
fn other_secrets_than_the_database_knows_are_refused() {
    let mut place = Place::new();
    place.serve(&[]).stop();
    place = place.with("JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let ended = place.run(&["serve", "--port", "0"]);
    assert_eq!(ended.code, 1);
    assert!(ended.errors.contains("another JWT_SECRET") && ended.errors.contains("JWT_SECRET_PREVIOUS"), "{}", ended.errors);
}

#[test]
fn tokens_are_made_and_revoked_beside_a_running_server() {
    let place = Place::new();
    let server = place.serve(&[]);
    let made = place.answer(&["user", "create", "ada", "--token"]);
    let (id, first) = made.split_once('\n').unwrap();
    assert_eq!(server.get("/api/auth/profile", first).0, 200);

    let token = place.answer(&["token", "create", "--user", "ada", "--read", "--expires-in", "1h"]);
    let (status, body) = server.get("/api/auth/profile", &token);
    assert!(status == 200 && body.contains(id), "{body}");
    let client = place.answer(&["token", "create", "--client", "--email", "backend@example.com"]);
    assert_eq!(server.get("/api/users", &client).0, 200);

    let listed: serde_json::Value = serde_json::from_str(&place.answer(&["token", "list", "--json"])).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 4, "{listed:?}");
    let restricted = listed.iter().find(|row| row["permissions"]["write"] == false).unwrap();
    place.answer(&["token", "revoke", restricted["id"].as_str().unwrap()]);
    server.refuses_within_a_second(&token);
    assert_eq!(server.get("/api/auth/profile", first).0, 200);
    assert!(!place.answer(&["token", "list"]).contains("revoked"));
    assert!(place.answer(&["token", "list", "--all"]).contains("revoked"));

    place.answer(&["user", "disable", "ada"]);
    server.refuses_within_a_second(first);
    place.answer(&["user", "enable", "ada"]);
    place.answer(&["user", "role", "ada", "moderator"]);
    let users = place.answer(&["user", "list"]);
    assert!(users.contains("MODERATOR") && users.lines().count() == 3, "{users}");

    let shown: serde_json::Value = serde_json::from_str(&place.answer(&["user", "show", "ada", "--json"])).unwrap();
    assert_eq!((&shown["id"], &shown["role"]), (&id.into(), &"MODERATOR".into()));
    assert_eq!(place.answer(&["user", "rename", "ada", "Ada Lovelace"]), "ada is Ada Lovelace now");
    assert!(place.answer(&["user", "show", id]).contains("Ada Lovelace"));
}

#[test]
fn commands_say_what_they_can_not_do() {
    let place = Place::new();
    place.serve(&[]).stop();
    place.answer(&["user", "create", "ada"]);
    for (arguments, code, part) in [
        (&["user", "create", "ada"][..], 1, "this username is taken"),
        (&["user", "create", "Ada"], 1, "this username is taken"),
        (&["user", "create", "ada "], 1, "must not begin or end with white space"),
        // The first letter is a Cyrillic a.
        (&["user", "create", "аdmin"], 1, "this username is taken"),
        (&["user", "rename", "ada", "ADMIN"], 1, "this username is taken"),
        (&["user", "show", "Ada"], 1, "there is no user \"Ada\""),
        (&["user", "role", "bob", "ADMIN"], 1, "there is no user \"bob\""),
        (&["user", "role", "ada", "king"], 2, "must be ADMIN, MODERATOR or MEMBER"),
        (&["token", "revoke", "0198c0de-7c1a-7000-8000-0123456789ab"], 1, "there is no such token"),
        (&["token", "create", "--client"], 2, "--email"),
        (&["token", "create"], 2, "--user"),
        (&["token", "create", "--user", "ada", "--expires-in", "7"], 2, "such as 90s"),
        (&["token", "create", "--user", "ada", "--room", "0198c0de-7c1a-7000-8000-0123456789ab"], 2, "--read"),
        (&["serve", "--no-such-flag"], 2, "--no-such-flag"),
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.errors);
        assert!(ended.errors.contains(part), "{arguments:?}: {}", ended.errors);
    }
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let place = Place::new();
    place.serve(&[]).stop();
    let few = ["--connections", "100"];
    let well = place.run(&[&["doctor", "--port", "0"], &few[..]].concat());
    assert_eq!(well.code, 0, "{}", well.answer);

    fs::set_permissions(place.data("client-token"), fs::Permissions::from_mode(0o644)).unwrap();
    let sick = place.run(&[&["doctor", "--port", &port], &few[..]].concat());
    assert_eq!(sick.code, 1);
    let process = format!("(process {})", std::process::id());
    for part in ["can read ./chatsphere-data/client-token", "chmod 600 ./chatsphere-data/client-token", "is taken by", &process]
    {
        assert!(sick.answer.contains(part), "{part} is missing in {}", sick.answer);
    }
    let findings: serde_json::Value = serde_json::from_str(&place.run(&["doctor", "--json", "--port", &port]).answer).unwrap();
    assert!(findings.as_array().unwrap().iter().any(|finding| finding["check"] == "port" && finding["ok"] == false));

    let mistaken = place.with("PORT", "x").run(&["doctor"]);
    assert!(mistaken.code == 1 && mistaken.answer.contains("environment variable PORT"), "{}", mistaken.answer);
}

#[test]
fn the_doctor_misses_secrets_that_are_lost() {
    let place = Place::new();
    place.serve(&[]).stop();
    fs::remove_file(place.data("secrets.toml")).unwrap();
    let ended = place.run(&["doctor", "--port", "0", "--connections", "100"]);
    assert_eq!(ended.code, 1);
    assert!(ended.answer.contains("put secrets.toml back"), "{}", ended.answer);
    assert!(!place.data("secrets.toml").exists(), "others were made");
}

#[test]
fn an_unavailable_database_is_reported_without_its_password() {
    let place = Place::new().with("DATABASE_URL", "postgresql://ada:s3cret@127.0.0.1:1/chat");
    for arguments in [&["serve", "--port", "0"][..], &["user", "list"], &["migrate"], &["doctor"], &["config", "check"]] {
        let ended = place.run(arguments);
        assert!(!(ended.answer.clone() + &ended.errors).contains("s3cret"), "{arguments:?}");
        if arguments[0] != "config" {
            assert_eq!(ended.code, 1, "{arguments:?}");
            assert!((ended.answer + &ended.errors).contains("can't be reached"), "{arguments:?}: {}", ended.errors);
        }
    }
}

#[test]
fn a_stop_finishes_calls_in_progress_and_a_second_signal_does_not() {
    let place = Place::new();
    let mut server = place.serve(&[]);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    let token = place.client_token();
    let head = "POST /api/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    let request = |length: usize| format!("{head}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n");
    let body = r#"{"username":"ada"}"#;
    let (begin, end) = body.split_at(5);
    write!(slow, "{}{begin}", request(body.len())).unwrap();
    // The request is in progress once a later one on another connection was answered.
    assert_eq!(server.get("/livez", "").0, 200);
    server.signal(Signal::TERM);
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(server.child.try_wait().unwrap().is_none(), "it ended with a request under way");
    slow.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(server.wait(), 0);

    let mut server = place.serve(&[]);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    write!(slow, "{}{begin}", request(body.len())).unwrap();
    assert_eq!(server.get("/livez", "").0, 200);
    let began = Instant::now();
    server.signal(Signal::TERM);
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 1);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn commands_print_only_what_was_requested() {
    let place = Place::new();
    assert!(place.answer(&["--version"]).starts_with("chatsphere "));
    assert!(place.answer(&["config", "docs"]).contains("| `port`<br>`--port` |"));
    let openapi: serde_json::Value = serde_json::from_str(&place.answer(&["openapi"])).unwrap();
    assert_eq!(openapi["info"]["title"], "ChatSphere");
    let frames: serde_json::Value = serde_json::from_str(&place.answer(&["openapi", "--frames"])).unwrap();
    assert!(frames["$defs"]["ServerFrame"].is_object());
    assert!(place.answer(&["serve", "--help"]).contains("--outbound-queue-bytes"));
    place.serve(&[]).stop();
    assert!(place.answer(&["migrate"]).contains(": up to date"));

    let place = place.with("JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let checked = place.answer(&["config", "check", "--port", "4000"]);
    assert!(!checked.contains("0123456789abcdef"), "{checked}");
    let row = |name: &str| checked.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row("port")[1..], ["4000", "--port"]);
    assert_eq!(row("jwt_secret ")[1..], ["set", "environment", "variable", "JWT_SECRET"]);
}

#[test]
fn an_epoch_is_renewed_only_while_no_server_runs() {
    let place = Place::new();
    let server = place.serve(&[]);
    let refused = place.run(&["epoch", "renew"]);
    assert_eq!(refused.code, 1, "{}", refused.errors);
    drop(server);
    let answer = place.answer(&["epoch", "renew"]);
    assert!(answer.contains("the epoch is now "), "{answer}");
    assert_ne!(place.answer(&["epoch", "renew"]), answer);
}
