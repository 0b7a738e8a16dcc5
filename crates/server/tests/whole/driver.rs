//! Drives another program with one JSON object per line in each direction.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// A time-out against hanging; the programs' own time-outs are shorter.
const PATIENCE: Duration = Duration::from_secs(150);

pub struct Driver {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    program: String,
}

impl Driver {
    pub fn spawn(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output, program: arguments[0].to_owned() }
    }

    /// Sends a command and waits for its answer.
    pub async fn ask(&mut self, command: Value) -> Value {
        let mut line = command.to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).await.unwrap_or_else(|error| panic!("{}: {error}", self.program));
        loop {
            let answer = self.line().await;
            if answer["do"] == command["do"] {
                assert_eq!(answer["ok"], true, "{command}: {answer}");
                return answer;
            }
        }
    }

    /// Waits for a line with this key.
    pub async fn line_with(&mut self, key: &str) -> Value {
        loop {
            let line = self.line().await;
            if line.get(key).is_some() {
                return line;
            }
        }
    }

    /// Ends the program, and asserts that it found no error.
    pub async fn quit(mut self) {
        self.ask(serde_json::json!({"do": "quit"})).await;
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the program ends").unwrap();
        assert!(status.success(), "{}: {status}", self.program);
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{} says nothing any more", self.program)).unwrap();
        let line = line.unwrap_or_else(|| panic!("{} has ended", self.program));
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for bad in ["violation", "problem"] {
            assert!(line.get(bad).is_none(), "{}: {line}", self.program);
        }
        line
    }
}
