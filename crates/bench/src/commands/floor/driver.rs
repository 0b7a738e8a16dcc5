use std::io;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::writer::{ANSWERS, QUESTION, QUESTIONS};
use crate::deliveries::{self, Plan, Run, Source};
use crate::error::RunError;
use crate::process::ServerProcesses;
use crate::raw_socket::RawSocket;

/// The child process that writes, and the sockets that read.
#[derive(Debug)]
pub(crate) struct FloorWriter {
    child: Child,
    trigger: Trigger,
    sockets: Vec<RawSocket>,
    in_flight: usize,
    last: u64,
}

/// The trigger of a message: one byte.
#[derive(Debug)]
struct Trigger(ChildStdin);

impl Source for Trigger {
    async fn send(&mut self) -> Result<(), RunError> {
        let sending = async {
            self.0.write_all(b".").await?;
            self.0.flush().await
        };
        sending.await.map_err(failed)
    }
}

impl FloorWriter {
    /// Starts the child and connects all sockets to it. `frame_bytes` is the length of a frame's text.
    pub(crate) async fn start(sockets: usize, frame_bytes: u64, in_flight: usize) -> Result<Self, RunError> {
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("floor-writer")
            .args(["--sockets", &sockets.to_string(), "--frame-bytes", &frame_bytes.to_string()])
            .args(["--in-flight", &in_flight.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout) =
            child.stdin.take().zip(child.stdout.take()).ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut said = BufReader::new(stdout).lines();
        let port: u16 = line(&mut said).await?.parse().map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
        let mut connected = Vec::with_capacity(sockets);
        for _ in 0..sockets {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let mut socket = RawSocket::on(stream);
            for _ in 0..QUESTIONS {
                socket.send_bytes(QUESTION).await.map_err(failed)?;
                let mut answers = 0;
                while answers < ANSWERS {
                    socket.read(|_| answers += 1).await?;
                }
            }
            connected.push(socket);
        }
        // The child prints a line once it has accepted all sockets.
        line(&mut said).await?;
        Ok(Self { child, trigger: Trigger(stdin), sockets: connected, in_flight, last: 0 })
    }

    /// Lets the child write this many messages, rounded up to whole writes.
    pub(crate) async fn run(&mut self, plan: Plan) -> Result<Run, RunError> {
        let plan = Plan { messages: plan.messages.next_multiple_of(self.in_flight), in_flight: self.in_flight };
        let writer = self.child.id().map(|pid| ServerProcesses::new(vec![pid]));
        let run = deliveries::run(plan, self.last, &mut self.sockets, &mut self.trigger, writer).await?;
        self.last += plan.messages as u64;
        Ok(run)
    }
}

async fn line(said: &mut Lines<BufReader<ChildStdout>>) -> Result<String, RunError> {
    said.next_line().await.map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))
}

fn failed(source: io::Error) -> RunError {
    RunError::Io { what: "the process that writes the floor", source }
}
