//! Does the limit of open files fit the connections that are wanted?

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::config::Settings;

const CHECK: &str = "open files";
/// For the database, the log and the like.
const RESERVE: u64 = 1_024;

pub(super) fn check(settings: &Settings) -> Finding {
    // The server raises the soft limit to the hard one by itself.
    judge(getrlimit(Resource::Nofile).maximum, settings.limits.connections)
}

fn judge(limit: Option<u64>, connections: usize) -> Finding {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(RESERVE);
    match limit {
        Some(limit) if limit < needed => Finding::wrong(
            CHECK,
            format!("the limit is {limit}, too few for the {connections} connections that are configured"),
            format!(
                "raise it (ulimit -Hn {needed}, LimitNOFILE={needed} in systemd, --ulimit nofile={needed} in Docker), or lower \
                 connections: the server takes no more than fit"
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
    fn too_few_are_told_with_how_many_it_takes() {
        let finding = judge(Some(1_024), 100_000);
        assert!(!finding.ok && finding.to_do.unwrap().contains("LimitNOFILE=101024"));
        assert!(judge(Some(1_048_576), 100_000).ok && judge(None, 100_000).ok);
    }
}
