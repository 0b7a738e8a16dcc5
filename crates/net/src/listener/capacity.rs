//! The number of connections that the process's limit of open files allows.

/// Descriptors reserved for the database, the bus, log files and rejected clients, if the limit is large enough.
const RESERVE: std::ops::RangeInclusive<u64> = 128..=512;

/// Raises the process's soft limit of open files to its hard limit, and returns the resulting limit; `None` where the system
/// has no such limit. Call it once, before [`super::serve`].
pub fn raise_descriptor_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let limit = getrlimit(Resource::Nofile);
        // Some systems reject an unlimited soft limit; the current limit then stays.
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if limit.current != limit.maximum
            && let Err(error) = setrlimit(Resource::Nofile, raised)
        {
            tracing::debug!(%error, "the limit of open files could not be raised");
        }
    }
    descriptor_limit()
}

/// The smaller of the wanted number and the number that the limit of open files allows.
pub(super) fn of(wanted: usize) -> usize {
    descriptor_limit().map_or(wanted, |limit| wanted.min(share(limit)))
}

fn share(limit: u64) -> usize {
    let reserve = (limit / 10).clamp(*RESERVE.start(), *RESERVE.end()).min(limit / 2);
    usize::try_from(limit - reserve).unwrap_or(usize::MAX).max(1)
}

#[cfg(unix)]
fn descriptor_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn descriptor_limit() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_descriptors_for_the_rest_of_the_process() {
        assert_eq!(share(0), 1);
        assert_eq!(share(64), 32);
        assert_eq!(share(256), 128);
        assert_eq!(share(1_024), 896);
        assert_eq!(share(20_000), 19_488);
        assert_eq!(share(1_048_576), 1_048_064);
        assert_eq!(of(3), 3);
    }
}
