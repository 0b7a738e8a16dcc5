//! Runs the commands of README.md and docs/api.md as a reader would paste them, and compares the documents with the code.
//!
//! Blocks of type `sh` run one after another in one shell, in an empty directory. A comment before a block changes that. `<!--
//! test: background -->` runs it in a terminal of its own until the end of the test. `<!-- test: serve -->` first starts a
//! server in a terminal of its own. `<!-- test: skip, why -->` skips the block. A block of type `text` after `<!-- test:
//! printed -->` has lines that the first terminal must have printed by then, in this order, each once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chatsphere::observability::catalogue::{METRICS, Metric};
use chatsphere_protocol::close;
use chatsphere_protocol::frames::{Incoming, ServerFrame, encode_client_frame};
use serde_json::Value;

/// The time-out of one block, which includes the start of a server.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The command in the documents. The test replaces it by the program that cargo has built.
const PROGRAM: &str = "cargo run --release -p chatsphere --";
const ADDRESS: &str = "127.0.0.1:3001";

#[test]
fn every_command_of_the_readme_works() {
    let blocks = blocks("README.md");
    assert!(blocks.iter().filter(|block| block.how == How::Printed).count() >= 2, "the README shows what is printed");
    follow(&blocks);
}

#[test]
fn every_command_of_the_api_document_works() {
    follow(&blocks("docs/api.md"));
}

fn follow(blocks: &[Block]) {
    for needed in ["curl", "python3"] {
        let there = Command::new(needed).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
        assert!(there, "the documents' commands need {needed}: install it");
    }
    let mut reader = Reader::new();
    for block in blocks {
        match block.how {
            How::Paste => reader.paste(block),
            How::Background => reader.open_terminal(block),
            How::Printed => reader.has_seen(block),
            How::Skip => {}
        }
    }
    let seen = reader.terminal.shown();
    for line in blocks.iter().filter(|block| block.how == How::Printed).flat_map(|block| block.text.lines()) {
        assert_eq!(seen.lines().filter(|seen| shows(seen, line)).count(), 1, "{line:?} in\n{seen}");
    }
}

/// Runs a line of Python that can import the example.
fn python(code: &str) -> String {
    let run = Command::new("python3").args(["-B", "-c", code]).current_dir(root().join("examples")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn the_listener_shows_what_a_terminal_would_obey() {
    for (text, shown) in [
        (r"\x1b[31mred\x07", r"\x1b[31mred\x07"),
        (r"a\u202eb\u2066\u200b", r"a\u202eb\u2066\u200b"),
        (r"\x9b2J\x00\x7f\x85", r"\x9b2J\x00\x7f\x85"),
        (r"one\ntwo\rthree\u2028", r"one\ntwo\rthree\u2028"),
        (r"\ud83d", r"\ud83d"),
        (r"\\x1b", r"\\x1b"),
        (r"ada \u00fc \U0001f469\u200d\U0001f4bb", "ada ü 👩\u{200d}💻"),
    ] {
        assert_eq!(python(&format!("import listen; listen.say('{text}')")).trim_end(), shown, "{text}");
    }
    let name = r"import listen; listen.show({'type':'member_joined','seq':1,'user':{'username':'\x1b]0;x\x07'}})";
    assert_eq!(python(name).trim_end(), r"1 \x1b]0;x\x07 joined");
}

#[test]
fn the_listener_takes_no_token_as_an_argument() {
    for (arguments, says) in [
        (&[][..], "usage: CHATSPHERE_TOKEN="),
        (&["eyJhbGciOiJIUzI1NiJ9.e30.x", "room"], "CHATSPHERE_TOKEN"),
        (&["room"], "no token"),
    ] {
        let mut listener = Command::new("python3");
        listener.args(["-B", "examples/listen.py"]).args(arguments).current_dir(root()).env_remove("CHATSPHERE_TOKEN");
        let ended = listener.stdin(Stdio::null()).output().unwrap();
        assert!(!ended.status.success());
        assert!(String::from_utf8_lossy(&ended.stderr).contains(says), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            if target.contains("://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match path {
                "" => root().join(&document),
                path => root().join(document.parent().unwrap()).join(path),
            };
            assert!(path.exists(), "{}: {target} is not there", document.display());
            if !heading.is_empty() {
                let found = fs::read_to_string(&path).unwrap().lines().any(|line| anchor(line) == heading);
                assert!(found, "{}: {target} has no such heading", document.display());
            }
        }
    }
}

#[test]
fn every_call_is_in_the_api_document() {
    let description: Value = serde_json::from_str(&chatsphere::http::openapi_json()).unwrap();
    let document = fs::read_to_string(root().join("docs/api.md")).unwrap();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let call = format!("`{} {path}`", method.to_uppercase());
            assert!(document.contains(&call), "docs/api.md does not tell of {call}");
        }
    }
}

#[test]
fn every_error_code_is_in_the_documents() {
    let source = |path: &str| fs::read_to_string(root().join("crates").join(path)).unwrap();
    let of_calls = words_after(&source("core/src/error.rs"), "=> \"");
    let of_http = words_after(&source("server/src/http/failure.rs"), ", \"");
    let api = fs::read_to_string(root().join("docs/api.md")).unwrap();
    for code in of_calls.union(&of_http) {
        assert!(api.contains(&format!("`{code}`")), "docs/api.md does not tell of the code {code}");
    }
    let websocket = fs::read_to_string(root().join("docs/websocket.md")).unwrap();
    let of_frames = words_after(&source("protocol/src/frames/client.rs"), "=> \"");
    let of_door = fs::read_dir(root().join("crates/server/src/ws")).unwrap().map(|file| file.unwrap().path());
    let of_door = of_door.filter(|file| file.is_file()).map(|file| fs::read_to_string(file).unwrap());
    let of_door: BTreeSet<String> = of_door
        .flat_map(|text| ["(&about, \"", "(about, \"", "default(), \"", "Here(\""].map(|before| words_after(&text, before)))
        .flatten()
        .collect();
    assert!(of_door.len() >= 6, "{of_door:?}");
    for code in of_frames.union(&of_door) {
        assert!(websocket.contains(&format!("`{code}`")), "docs/websocket.md does not tell of the code {code}");
    }
}

/// The error codes that the Rust client's documentation lists for a call are those of its OpenAPI description.
#[test]
fn the_client_names_the_codes_of_each_call() {
    let description: Value = serde_json::from_str(&chatsphere::http::openapi_json()).unwrap();
    let mut seen = 0;
    for file in fs::read_dir(root().join("crates/client/src/rest")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        for method in source.split("    /// # Errors\n").skip(1) {
            let (documentation, code) = method.split_once("pub async fn ").unwrap();
            let Some(path) = code.split('"').find(|text| text.starts_with("/api/")) else { continue };
            let verb = code.split_once("Method::").map_or("GET", |(_, rest)| rest.split(',').next().unwrap());
            let path = path.split('?').next().unwrap().replace("{room}", "{roomId}");
            let mut path =
                path.replace("{user}", "{userId}").replace("{token}", "{tokenId}").replace("{message}", "{messageId}");
            if path.ends_with("/external") {
                path += "/{externalId}";
            }
            let operation = &description["paths"][&path][verb.to_lowercase()];
            let responses = operation["responses"].as_object().unwrap_or_else(|| panic!("{verb} {path} is no call"));
            let described: BTreeSet<String> =
                responses.values().filter_map(|response| response["description"].as_str()).flat_map(codes).collect();
            let named: BTreeSet<String> = codes(documentation).collect();
            // The client sends no `Idempotency-Key`. Any call of a client that acts as a user may get the other two.
            let mut of_any_call = vec!["idempotency_key_reused", "not_yourself", "user_not_found"];
            // Nobody may delete for good by being a member.
            if code.contains("hard=true") {
                of_any_call.extend(["not_a_member", "not_a_moderator"]);
            }
            // Only the page around a message names one.
            if path.ends_with("/messages") && !code.contains("around=") {
                of_any_call.push("message_not_found");
            }
            // Only a deletion for good needs more than to moderate.
            if verb == "DELETE" && path.ends_with("/{messageId}") && !code.contains("hard=true") {
                of_any_call.push("client_token_required");
            }
            let described: BTreeSet<String> =
                described.into_iter().filter(|code| named.contains(code) || !of_any_call.contains(&&**code)).collect();
            assert_eq!(named, described, "the client on the left, the description of {verb} {path} on the right");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen} calls were found");
}

/// Returns the codes in backticks.
fn codes(text: &str) -> impl Iterator<Item = String> {
    let words = text.split('`').skip(1).step_by(2);
    words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).map(str::to_owned)
}

#[test]
fn every_close_code_is_in_the_websocket_document() {
    let document = fs::read_to_string(root().join("docs/websocket.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")?.0.parse::<u16>().ok());
    let codes: BTreeSet<u16> = close::ALL.iter().map(|(code, _)| *code).collect();
    assert_eq!(rows.collect::<BTreeSet<_>>(), codes, "docs/websocket.md on the left, the code on the right");
}

/// An example is parsed and encoded by the protocol's types. The result must be the same, so no field is missing, misspelt or
/// unknown.
#[test]
fn the_examples_of_frames_are_frames() {
    let text = fs::read_to_string(root().join("docs/websocket.md")).unwrap();
    let examples = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut seen = 0;
    for example in examples {
        // The documents abbreviate ids.
        let whole = example.replace("-…\"", "-7c1a-7000-8000-0123456789ab\"");
        for example in serde_json::Deserializer::from_str(&whole).into_iter::<Value>() {
            let example = example.unwrap();
            let written = example.to_string();
            seen += 1;
            let up = Incoming::parse(&written).ok().map(|frame| encode_client_frame(&frame).unwrap());
            // Some types are sent in both directions, with different fields.
            if up.is_some_and(|up| serde_json::from_str::<Value>(&up).unwrap() == example) {
                continue;
            }
            let down: ServerFrame<'_> = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{example}: {error}"));
            assert_eq!(serde_json::to_value(down).unwrap(), example);
        }
    }
    assert!(seen >= 18, "{seen} examples were found");
}

#[test]
fn every_metric_is_in_the_documents() {
    let mut made = BTreeSet::new();
    let (root, files) = (root(), sources());
    let is_test = |file: &PathBuf| file.strip_prefix(&root).unwrap_or(file).iter().any(|part| part == "tests");
    for file in files.iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(file).unwrap();
        // Metrics of unit tests need no documentation.
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        made.extend(words_after(text, "\"").into_iter().filter(|word| is_metric(word)));
    }
    let described: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(described, made, "the catalogue on the left, the code on the right");
    let document = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let told: BTreeSet<String> = words_after(&document, "`").into_iter().filter(|word| is_metric(word)).collect();
    assert_eq!(told, made, "docs/operations.md on the left, the code on the right");
    for Metric { name, kind, labels, .. } in METRICS {
        let kind =
            if labels.is_empty() { kind.as_str().to_owned() } else { format!("{}: {}", kind.as_str(), labels.join(", ")) };
        assert!(document.contains(&format!("| `{name}` | {kind} |")), "docs/operations.md: {name} is a {kind}");
    }
}

#[test]
fn every_name_in_the_architecture_exists() {
    let files = sources();
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let words: BTreeSet<&str> = code.split(|c: char| !is_of_a_name(c)).collect();
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let prose: String = document.split("```").step_by(2).collect();
    for name in prose.split('`').skip(1).step_by(2) {
        let is_there = if name.contains('/') || name.ends_with(".rs") {
            let path = name.trim_start_matches("../").trim_end_matches('/');
            let is_in = |file: &PathBuf| file.ancestors().any(|above| above.ends_with(path));
            name.starts_with('/')
                || files.iter().any(is_in)
                || root().join(path).exists()
                || root().join("crates/store").join(path).exists()
        } else {
            let is_known = |word: &str| words.contains(word) || root().join(word).exists();
            let is_code = name.chars().all(|c| is_of_a_name(c) || c == ':' || c == '(' || c == ')');
            !is_code || name.split(|c| !is_of_a_name(c)).filter(|word| !word.is_empty()).all(is_known)
        };
        assert!(is_there, "ARCHITECTURE.md names {name}, which is not there");
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How to treat a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Paste,
    Background,
    Printed,
    Skip,
}

/// A block between two lines of three backticks.
struct Block {
    how: How,
    /// The name of the document and the line of the block.
    place: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let text = fs::read_to_string(root().join(document)).unwrap();
    let mut lines = text.lines().enumerate();
    let mut mark = "";
    while let Some((number, line)) = lines.next() {
        if let Some(comment) = line.strip_prefix("<!-- test: ") {
            mark = comment.trim_end_matches(" -->").split(',').next().unwrap_or_default();
            if mark == "serve" {
                let place = format!("{document}:{}", number + 1);
                blocks.push(Block { how: How::Background, place, text: format!("{PROGRAM} serve\n") });
                mark = "";
            }
            continue;
        }
        if let Some(language) = line.strip_prefix("```") {
            let text: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .fold(String::new(), |text, line| text + line + "\n");
            let how = match (language, mark) {
                ("sh", "") => How::Paste,
                ("sh", "background") => How::Background,
                ("text", "printed") => How::Printed,
                (_, "skip") => How::Skip,
                ("sh", other) => panic!("{document}:{number}: nobody knows the mark {other:?}"),
                _ => How::Skip,
            };
            blocks.push(Block { how, place: format!("{document}:{}", number + 1), text });
        }
        mark = "";
    }
    blocks
}

/// A reader who follows a document.
struct Reader {
    directory: tempfile::TempDir,
    port: u16,
    terminal: Terminal,
    others: Vec<Terminal>,
    pasted: usize,
}

impl Reader {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("examples"), directory.path().join("examples")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let terminal = Terminal::open(directory.path(), "terminal", port);
        Self { directory, port, terminal, others: Vec::new(), pasted: 0 }
    }

    /// Replaces the program and the address in the documents by those of this reader.
    fn own(&self, text: &str) -> String {
        let program = format!("'{}'", env!("CARGO_BIN_EXE_chatsphere"));
        text.replace(PROGRAM, &program).replace(ADDRESS, &format!("127.0.0.1:{}", self.port))
    }

    fn paste(&mut self, block: &Block) {
        self.pasted += 1;
        let done = self.directory.path().join(format!("done-{}", self.pasted));
        self.terminal.paste(self.directory.path(), self.pasted, &self.own(&block.text));
        let terminal = &mut self.terminal;
        let outcome = wait(|| done.exists().then_some(Ok(())).or_else(|| terminal.has_ended().then_some(Err("failed"))));
        if outcome != Some(Ok(())) {
            panic!("{}: {}\n{}", block.place, outcome.map_or("takes too long", |_| "failed"), self.everything());
        }
    }

    fn open_terminal(&mut self, block: &Block) {
        let name = format!("server-{}", self.others.len() + 1);
        let mut other = Terminal::open(self.directory.path(), &name, self.port);
        other.paste(self.directory.path(), 100 + self.others.len(), &self.own(&block.text));
        self.others.push(other);
        // A reader waits for the server's banner; this one polls the server.
        let port = self.port;
        assert!(wait(|| is_ready(port).then_some(())).is_some(), "{}: no server\n{}", block.place, self.everything());
    }

    fn has_seen(&self, block: &Block) {
        let all = wait(|| {
            let seen = self.terminal.shown();
            let mut lines = seen.lines();
            block.text.lines().all(|line| lines.any(|seen| shows(seen, line))).then_some(())
        });
        assert!(all.is_some(), "{}: not printed:\n{}\n{}", block.place, block.text, self.everything());
    }

    fn everything(&self) -> String {
        std::iter::once(&self.terminal)
            .chain(&self.others)
            .map(|terminal| format!("--- {}\n{}", terminal.name, terminal.shown()))
            .collect()
    }
}

/// A shell, its processes, and their output.
struct Terminal {
    name: String,
    shell: Child,
    shown: PathBuf,
}

impl Terminal {
    fn open(directory: &Path, name: &str, port: u16) -> Self {
        let shown = directory.join(format!("{name}.shown"));
        let output = File::create(&shown).unwrap();
        let mut command = Command::new("sh");
        for (variable, _) in std::env::vars_os() {
            let ours = |name: &str| {
                ["CHATSPHERE_", "JWT_", "DATABASE_URL", "NATS_URL", "RUST_LOG"].iter().any(|ours| name.starts_with(ours))
            };
            if variable.to_str().is_some_and(ours) {
                command.env_remove(variable);
            }
        }
        command.env("PORT", port.to_string()).current_dir(directory).process_group(0);
        command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut terminal = Self { name: name.to_owned(), shell: command.spawn().unwrap(), shown };
        terminal.type_in("set -e");
        terminal
    }

    /// Runs a block, which creates a file when it has succeeded.
    fn paste(&mut self, directory: &Path, number: usize, text: &str) {
        fs::write(directory.join(format!("block-{number}")), text).unwrap();
        self.type_in(&format!(". ./block-{number} < /dev/null; : > done-{number}"));
    }

    fn type_in(&mut self, line: &str) {
        // If the shell has ended, the next check notices it.
        let _ = writeln!(self.shell.stdin.as_mut().unwrap(), "{line}");
    }

    fn has_ended(&mut self) -> bool {
        self.shell.try_wait().unwrap().is_some()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.shown).unwrap()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The whole process group, with the server and the listener.
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.shell.wait();
    }
}

/// Whether a line of a terminal is this one. The output of another program may precede it in the same line.
fn shows(seen: &str, line: &str) -> bool {
    seen.ends_with(line)
}

fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match look() {
            None if Instant::now() < until => sleep(LOOK_AGAIN),
            seen => return seen,
        }
    }
}

fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").is_ok() && {
        let _ = stream.read_to_string(&mut answer);
        answer.split_whitespace().nth(1) == Some("200")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn documents() -> Vec<PathBuf> {
    let in_docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    let above = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from);
    in_docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).chain(above).collect()
}

/// Returns the anchor that GitHub gives a heading.
fn anchor(line: &str) -> String {
    let title = line.trim_start_matches('#').trim();
    if !line.starts_with('#') {
        return String::new();
    }
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Returns the words of lower case letters, digits and underscores between `before` and a quote or backtick.
fn words_after(text: &str, before: &str) -> BTreeSet<String> {
    let words = text.match_indices(before).filter_map(|(place, _)| {
        let rest = &text[place + before.len()..];
        let (word, _) = rest.split_once(['"', '`'])?;
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        (!word.is_empty() && word.chars().all(is_word)).then(|| word.to_owned())
    });
    words.collect()
}

fn is_metric(word: &str) -> bool {
    let kinds = [
        "_total",
        "_seconds",
        "_bytes",
        "_queue",
        "_messages",
        "_connections",
        "_sockets",
        "_listeners",
        "_size",
        "_info",
        "_connected",
    ];
    word.starts_with("chatsphere_") && kinds.iter().any(|kind| word.ends_with(kind))
}

/// Returns all Rust files, including tests.
fn sources() -> Vec<PathBuf> {
    fn gather(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    ["crates", "xtask"].iter().for_each(|directory| gather(&root().join(directory), &mut found));
    found
}
