//! Checks that the limit of open files suffices for the connections.

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::config::Settings;

const CHECK: &str = "open files";
/// Descriptors for the database, the log and similar purposes.
const RESERVE: u64 = 1_024;
/// A limit below this is too low for most servers; above it, only the operator can judge.
const FEW: u64 = 4_096;

pub(super) fn check(settings: &Settings) -> Finding {
    // The server raises the soft limit to the hard limit itself.
    judge(getrlimit(Resource::Nofile).maximum, settings.limits.connections)
}

fn judge(limit: Option<u64>, connections: usize) -> Finding {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(RESERVE);
    match limit {
        Some(limit) if limit < FEW.min(wanted) => Finding::wrong(
            CHECK,
            format!("the limit is {limit}, which is too few for a server"),
            format!(
                "raise it (ulimit -Hn {wanted}, LimitNOFILE={wanted} in systemd, --ulimit nofile={wanted} in Docker): the \
                 server \
                 takes no more connections than fit"
            ),
        ),
        Some(limit) if limit < wanted => Finding::ok(
            CHECK,
            format!(
                "the limit is {limit}; with LimitNOFILE={wanted} the server would take all {connections} connections that it \
                 may"
            ),
        ),
        Some(limit) => Finding::ok(CHECK, format!("the limit is {limit}, enough for {connections} connections")),
        None => Finding::ok(CHECK, "no limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_are_reported_with_how_many_it_takes() {
        let finding = judge(Some(1_024), 100_000);
        assert!(!finding.ok && finding.to_do.unwrap().contains("LimitNOFILE=101024"));
        assert!(judge(Some(20_000), 100_000).ok);
        assert!(judge(Some(1_048_576), 100_000).ok && judge(None, 100_000).ok);
        assert!(judge(Some(2_048), 1_000).ok);
    }
}
