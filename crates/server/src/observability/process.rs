//! Process metrics under the names of Prometheus' client libraries.

use std::fmt::Write;
use std::fs;

/// Metrics of this process, in the text format. Empty without `/proc`.
pub(super) fn render() -> String {
    let mut text = String::new();
    let Some(stat) = Stat::read() else { return text };
    let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    };
    metric(
        "process_cpu_seconds_total",
        "counter",
        "Processor time that the process has taken, in user and system mode",
        stat.cpu,
    );
    metric("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970", stat.started);
    metric("process_resident_memory_bytes", "gauge", "Memory of the process that is in the machine's memory", stat.resident);
    metric("process_virtual_memory_bytes", "gauge", "Addresses that the process has taken", stat.virtual_size);
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Excludes the descriptor of this listing.
        let open = open.count().saturating_sub(1);
        metric("process_open_fds", "gauge", "Open file descriptors", open as f64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        metric("process_max_fds", "gauge", "File descriptors that may be open", most as f64);
    }
    text
}

struct Stat {
    cpu: f64,
    started: f64,
    resident: f64,
    virtual_size: f64,
}

impl Stat {
    /// Reads the fields of proc_pid_stat(5).
    fn read() -> Option<Self> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The preceding name may contain any character.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<f64> = fields.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
        // The manual's fourth field is the first here.
        let field = |of_the_manual: usize| fields.get(of_the_manual - 4).copied();
        let uptime = fs::read_to_string("/proc/stat").ok()?;
        let booted: f64 = uptime.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        Some(Self {
            cpu: (field(14)? + field(15)?) / ticks,
            started: booted + field(22)? / ticks,
            virtual_size: field(23)?,
            resident: field(24)? * rustix::param::page_size() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let stat = Stat::read().unwrap();
        assert!(stat.resident > 1e6 && stat.resident < stat.virtual_size, "{} {}", stat.resident, stat.virtual_size);
        let now = chatsphere_core::Clock::now(&chatsphere_core::SystemClock).as_seconds() as f64;
        assert!(stat.started <= now + 2.0 && stat.started > now - 86_400.0, "{}", stat.started);
        assert_eq!(render().matches("# HELP process_").count(), 6);
    }
}
