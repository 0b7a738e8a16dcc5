use std::collections::{BTreeSet, HashMap};
use std::{fs, io};

/// `/proc` counts in ticks of `USER_HZ`, which is 100 on all supported architectures (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
/// Maximum number of attempts to read a consistent process table.
const MAX_SNAPSHOTS: usize = 5;

/// The server's processes on this machine, including children: PostgreSQL has a child process per connection.
#[derive(Debug, Clone)]
pub(crate) struct ServerProcesses {
    pids: Vec<u32>,
}

impl ServerProcesses {
    /// The first process is the server, whose memory is reported; the others, such as the database's, add only CPU time.
    pub(crate) fn new(pids: Vec<u32>) -> Self {
        Self { pids }
    }

    /// CPU seconds that all of them and their children have used, in user space and in the kernel, including ended children.
    /// `None` if one of them does not exist.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        // A child that ends during the reading may not be counted, so two readings must agree.
        let mut last = self.snapshot()?;
        for _ in 1..MAX_SNAPSHOTS {
            let next = self.snapshot()?;
            if next.0 == last.0 {
                return Some(next.1);
            }
            last = next;
        }
        Some(last.1)
    }

    fn snapshot(&self) -> Option<(BTreeSet<u32>, f64)> {
        let table = processes();
        let mut found = BTreeSet::new();
        let mut to_visit = self.pids.clone();
        if !to_visit.iter().all(|pid| table.contains_key(pid)) {
            return None;
        }
        while let Some(pid) = to_visit.pop() {
            if found.insert(pid) {
                to_visit.extend(table.iter().filter(|(_, stat)| stat.parent == pid).map(|(child, _)| *child));
            }
        }
        let seconds = found.iter().filter_map(|pid| table.get(pid)).map(|stat| stat.seconds).sum();
        Some((found, seconds))
    }

    /// The server's resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// Its peak since the start, or since [`forget_peak`](Self::forget_peak).
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// Resets the peak, if this process may do that to the server (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(&self) -> io::Result<()> {
        let pid = self.pids.first().ok_or(io::ErrorKind::NotFound)?;
        fs::write(format!("/proc/{pid}/clear_refs"), "5")
    }

    fn status(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pids.first()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

/// The used fields of a line of `/proc/PID/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// CPU time of the process and of the children that it has waited for.
    seconds: f64,
}

fn processes() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect()
}

/// Parses the parent, and `utime`, `stime`, `cutime` and `cstime`: fields 4 and 14 to 17. The second field, the program's name
/// in parentheses, may contain spaces.
fn stat(line: &str) -> Option<Stat> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(9);
    let mut ticks = 0.0;
    for _ in 0..4 {
        ticks += f64::from(fields.next()?.parse::<u32>().ok()?);
    }
    Some(Stat { parent, seconds: ticks / TICKS_PER_SECOND })
}

/// CPU seconds in an interval.
#[derive(Debug, Clone)]
pub(crate) struct CpuMeter {
    server: Option<ServerProcesses>,
    before: Option<f64>,
}

impl CpuMeter {
    pub(crate) fn start(server: Option<ServerProcesses>) -> Self {
        let before = server.as_ref().and_then(ServerProcesses::cpu_seconds);
        Self { server, before }
    }

    pub(crate) fn seconds(&self) -> Option<f64> {
        Some(self.server.as_ref()?.cpu_seconds()? - self.before?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_no_harm() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 25 75 20 0 3 0 100 1000 100";
        assert_eq!(stat(line), Some(Stat { parent: 1, seconds: 4.0 }));
        assert_eq!(stat("7 (x) S"), None);
    }

    #[test]
    fn this_process_is_there() {
        let this = ServerProcesses::new(vec![std::process::id()]);
        assert!(this.cpu_seconds().is_some() && this.resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(this.peak_bytes() >= this.resident_bytes());
        assert_eq!(ServerProcesses::new(vec![std::process::id(), u32::MAX]).cpu_seconds(), None);
    }

    #[test]
    fn children_count_while_they_live_and_after() {
        let meter = CpuMeter::start(Some(ServerProcesses::new(vec![std::process::id()])));
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut child = Command::new("sh");
        child.args(["-c", &format!("{busy}; echo done; read wait")]);
        let mut child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
        let alive = ServerProcesses::new(vec![child.id()]).cpu_seconds().unwrap();
        // The kernel rounds each of the four times down to a tick.
        let rounded = |seconds: f64| seconds + 4.0 / TICKS_PER_SECOND;
        assert!(alive > 0.0 && rounded(meter.seconds().unwrap()) >= alive);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(rounded(meter.seconds().unwrap()) >= alive);
    }
}
