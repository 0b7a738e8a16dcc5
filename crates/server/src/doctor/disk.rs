//! Checks the free disk space.

use rustix::fs::statvfs;

use super::data_dir::existing_above;
use super::finding::Finding;
use crate::config::Settings;

const CHECK: &str = "disk";
const MIB: u64 = 1024 * 1024;
/// Below this, the disk will be full within hours.
const LITTLE: u64 = 256 * MIB;
/// Below this, and below a twentieth of the disk, it will be full within days.
const NOT_MUCH: u64 = 2_048 * MIB;

pub(super) fn check(settings: &Settings) -> Finding {
    let database = settings.database();
    let path = database.sqlite_path().unwrap_or(&settings.data_dir);
    let path = existing_above(path);
    match statvfs(path) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let whole = stat.f_blocks.saturating_mul(stat.f_frsize);
            judge(free, whole, &path.display().to_string())
        }
        Err(error) => {
            Finding::wrong(CHECK, format!("{} can't be looked at: {error}", path.display()), "check that it is mounted")
        }
    }
}

fn judge(free: u64, whole: u64, path: &str) -> Finding {
    let found = format!("{} MiB free of {} MiB at {path}", free / MIB, whole / MIB);
    if free < LITTLE || (free < NOT_MUCH && free < whole / 20) {
        Finding::wrong(CHECK, found, "make space, or move the data directory to a larger disk: a full disk stops all writing")
    } else {
        Finding::ok(CHECK, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_full_is_reported() {
        assert!(!judge(100 * MIB, 100_000 * MIB, "/").ok);
        assert!(!judge(1_000 * MIB, 100_000 * MIB, "/").ok);
        assert!(judge(1_000 * MIB, 10_000 * MIB, "/").ok, "a small disk that is half empty");
        assert!(judge(10_000 * MIB, 1_000_000 * MIB, "/").ok, "much, though little of a large one");
    }
}
