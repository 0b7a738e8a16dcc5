/// `/proc` counts in ticks of `USER_HZ`, which is 100 on every architecture that this runs on (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// The server's process on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerProcess {
    pid: u32,
}

impl ServerProcess {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Seconds of CPU that it has taken so far, in user space and in the kernel. `None` if it is not there.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        cpu_seconds(&std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?)
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

/// `utime` and `stime`, the 14th and 15th fields. The second, the program's name in parentheses, may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS_PER_SECOND)
}

/// CPU seconds between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuMeter {
    server: Option<ServerProcess>,
    before: Option<f64>,
}

impl CpuMeter {
    pub(crate) fn start(server: Option<ServerProcess>) -> Self {
        Self { server, before: server.and_then(|server| server.cpu_seconds()) }
    }

    pub(crate) fn seconds(&self) -> Option<f64> {
        Some(self.server?.cpu_seconds()? - self.before?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_no_harm() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 100";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (x) S"), None);
    }

    #[test]
    fn this_process_is_there() {
        let this = ServerProcess::new(std::process::id());
        assert!(this.cpu_seconds().is_some() && this.resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
