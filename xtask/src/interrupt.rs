//! Runs programs so that Ctrl-C, `kill` or a panic leaves nothing behind.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Result, TaskError};

const POLL: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(5);

/// Records whether this process was asked to end.
pub(crate) struct Interrupts {
    signal: Arc<AtomicUsize>,
}

impl Interrupts {
    /// Installs signal handlers: from now on the process cleans up and ends itself.
    pub(crate) fn watch() -> Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
                .map_err(TaskError::io("watching for signals"))?;
        }
        Ok(Self { signal })
    }

    /// Fails once the process was asked to end.
    pub(crate) fn check(&self) -> Result {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            number => Err(TaskError::Interrupted(i32::try_from(number).unwrap_or(SIGTERM))),
        }
    }

    /// Sleeps, but returns when the process is asked to end.
    pub(crate) fn sleep(&self, time: Duration) -> Result {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(POLL));
        }
    }

    /// Runs the program to completion; fails unless it succeeds.
    pub(crate) fn run(&self, command: &mut Command, group: Group) -> Result {
        let status = self.status(command, group)?;
        if status.success() { Ok(()) } else { Err(TaskError::Program { what: typed(command), status }) }
    }

    /// Runs the program to completion.
    pub(crate) fn status(&self, command: &mut Command, group: Group) -> Result<ExitStatus> {
        self.check()?;
        let mut running = Running::start(command, group)?;
        loop {
            if let Some(status) = running.ended()? {
                return Ok(status);
            }
            // Dropping `running` ends the program.
            self.check()?;
            std::thread::sleep(POLL);
        }
    }
}

/// The process group of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// A group of its own: all processes that it leaves behind are ended with it. It cannot read from the terminal.
    Own,
    /// The group of this process, for programs that interact with the terminal.
    Shared,
}

/// A program that is ended when this is dropped.
pub(crate) struct Running {
    child: Child,
    pid: Pid,
    group: Group,
    ended: bool,
}

impl Running {
    /// Starts the program.
    pub(crate) fn start(command: &mut Command, group: Group) -> Result<Self> {
        if group == Group::Own {
            command.process_group(0);
        }
        let child = command.spawn().map_err(TaskError::io(format!("starting {}", typed(command))))?;
        Ok(Self { pid: Pid::from_child(&child), child, group, ended: false })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the program has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        // The zombie reserves the group's id while the remaining processes in the group are killed.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let looked =
            waitid(WaitId::Pid(self.pid), look).map_err(|errno| TaskError::io("waiting for a program")(errno.into()))?;
        if looked.is_none() {
            return Ok(None);
        }
        self.signal(Signal::KILL);
        self.ended = true;
        let status = self.child.wait().map_err(TaskError::io("waiting for a program"))?;
        Ok(Some(status))
    }

    /// Sends `signal` and waits up to `grace`. True if the program has ended.
    pub(crate) fn stop(&mut self, signal: Signal, grace: Duration) -> bool {
        if self.ended {
            return true;
        }
        let until = Instant::now() + grace;
        self.signal(signal);
        while Instant::now() < until {
            if !matches!(self.ended(), Ok(None)) {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    /// Sends the signal only to the program, not to its group.
    pub(crate) fn signal_leader(&self, signal: Signal) {
        if !self.ended {
            let _ = kill_process(self.pid, signal);
        }
    }

    fn signal(&self, signal: Signal) {
        // "No such process" is the desired state, and other errors cannot be handled here.
        let _ = match self.group {
            Group::Own => kill_process_group(self.pid, signal),
            Group::Shared => kill_process(self.pid, signal),
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.stop(Signal::TERM, GRACE) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// A command as typed, for messages. Its environment is omitted because it may contain secrets.
pub(crate) fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // The directory is omitted: cargo's is somewhere in the toolchains.
    let mut text = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn quiet() -> Interrupts {
        Interrupts { signal: Arc::default() }
    }

    fn alive(pid: &str) -> bool {
        // An orphaned process may stay a zombie if nothing reaps it.
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_failing_program_fails_the_task_with_its_code() {
        let error = quiet().run(&mut shell("exit 7"), Group::Own).unwrap_err();
        assert_eq!(error.exit_code(), 7);
    }

    #[test]
    fn processes_that_a_program_leaves_behind_are_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}", file.display());
        quiet().run(&mut shell(&script), Group::Own).unwrap();
        let pid = std::fs::read_to_string(file).unwrap();
        for _ in 0..100 {
            if !alive(&pid) {
                return;
            }
            std::thread::sleep(POLL);
        }
        panic!("process {pid} is still running");
    }

    #[test]
    fn an_interrupt_ends_the_program() {
        let interrupts = quiet();
        let signal = Arc::clone(&interrupts.signal);
        let pressed = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            signal.store(2, Ordering::Relaxed);
        });
        let before = Instant::now();
        let error = interrupts.run(&mut shell("sleep 600"), Group::Own).unwrap_err();
        assert!(matches!(error, TaskError::Interrupted(2)));
        assert!(before.elapsed() < GRACE);
        pressed.join().unwrap();
    }

    #[test]
    fn a_panic_ends_the_program() {
        let caught = std::panic::catch_unwind(|| {
            let running = Running::start(&mut shell("sleep 600"), Group::Own).unwrap();
            let id = running.id();
            std::panic::resume_unwind(Box::new(id));
        });
        let id = *caught.unwrap_err().downcast::<u32>().unwrap();
        assert!(!alive(&id.to_string()));
    }

    #[test]
    fn a_command_is_shown_without_its_environment() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["test", "-p", "xtask"]).env("SECRET", "x");
        assert_eq!(typed(&command), "cargo test -p xtask");
    }
}
