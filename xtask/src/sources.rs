//! Detects changed sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A snapshot of a directory's files, with the metadata that reveals changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    files: BTreeMap<PathBuf, (SystemTime, u64)>,
}

impl Snapshot {
    /// Takes a snapshot of all files in the directories. Files that vanish meanwhile are omitted.
    pub(crate) fn of<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut snapshot = Self::default();
        for dir in dirs {
            snapshot.add(dir);
        }
        snapshot
    }

    fn add(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if is_noise(&entry.file_name().to_string_lossy()) {
                continue;
            }
            // The metadata of the entry itself: links are not followed, so that cycles end.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                self.add(&entry.path());
            } else if let Ok(modified) = meta.modified() {
                self.files.insert(entry.path(), (modified, meta.len()));
            }
        }
    }

    /// One file that differs between the snapshots, for a message.
    pub(crate) fn differs_in<'a>(&'a self, other: &'a Self) -> Option<&'a Path> {
        let differs = |one: &Self, file: &PathBuf, state| one.files.get(file) != Some(state);
        let changed = other.files.iter().find(|(file, state)| differs(self, file, state));
        let gone = || self.files.iter().find(|(file, state)| differs(other, file, state));
        changed.or_else(gone).map(|(file, _)| file.as_path())
    }
}

/// Whether a file is temporary, from an editor or package manager.
fn is_noise(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || name == "target" || name == "node_modules"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn look(dir: &Path) -> Snapshot {
        Snapshot::of([dir])
    }

    #[test]
    fn a_change_an_addition_and_a_removal_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::create_dir(dir.join("src")).unwrap();
        let file = dir.join("src/lib.rs");
        fs::write(&file, "one").unwrap();
        let first = look(dir);
        assert_eq!(first.differs_in(&look(dir)), None);

        fs::write(&file, "another").unwrap();
        let second = look(dir);
        assert_eq!(first.differs_in(&second), Some(file.as_path()));

        fs::write(dir.join("src/more.rs"), "").unwrap();
        let third = look(dir);
        assert_eq!(second.differs_in(&third), Some(dir.join("src/more.rs").as_path()));

        fs::remove_file(&file).unwrap();
        assert_eq!(third.differs_in(&look(dir)), Some(file.as_path()));
    }

    #[test]
    fn an_editors_files_are_not_sources() {
        let dir = tempfile::tempdir().unwrap();
        let before = look(dir.path());
        fs::write(dir.path().join(".lib.rs.swp"), "").unwrap();
        fs::write(dir.path().join("lib.rs~"), "").unwrap();
        assert_eq!(before, look(dir.path()));
    }
}
