//! Finds or installs PostgreSQL's server programs.

use std::path::{Path, PathBuf};

use super::apt::Apt;
use super::look_up;
use crate::error::{Result, TaskError};
use crate::say;

const OLDEST: u32 = 15;

/// The directory of `initdb` and `postgres`.
pub(crate) fn find_or_install(apt: &Apt<'_>) -> Result<PathBuf> {
    if let Some(dir) = find() {
        return Ok(told(dir));
    }
    apt.install(&["postgresql"])?;
    find().map(told).ok_or_else(|| {
        TaskError::failed(format!("no PostgreSQL {OLDEST} or later was found, though the package postgresql is installed"))
    })
}

fn told(dir: PathBuf) -> PathBuf {
    say::step(&format!("finding PostgreSQL … {}", dir.display()));
    dir
}

fn find() -> Option<PathBuf> {
    let named = look_up::on_path(&["postgres"])
        // A link such as /usr/local/bin/postgres is resolved, because the programs beside its target are needed too.
        .and_then(|file| file.canonicalize().ok())
        .and_then(|file| file.parent().map(Path::to_path_buf));
    named.into_iter().chain(debian()).find(|dir| usable(dir))
}

/// Debian's directories of each major version, which are not on PATH, newest first.
fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, dir)| dir).collect()
}

fn usable(dir: &Path) -> bool {
    look_up::is_program(&dir.join("initdb"))
        && look_up::first_line(&dir.join("postgres"), &["--version"])
            .and_then(|version| look_up::major(&version))
            .is_some_and(|major| major >= OLDEST)
}
