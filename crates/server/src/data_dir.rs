//! The directory of a node's files, accessible only to its owner.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::own_file;
use crate::ownership::{self, Role, Unsafe};

/// An existing data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// Why the data directory is unusable.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It does not exist and cannot be created.
    #[error(
        "the data directory {path} can't be made: {source}\nmake it, or name another with --data-dir or CHATSPHERE_DATA_DIR"
    )]
    NotMade {
        /// The directory.
        path: String,
        /// The error.
        source: io::Error,
    },
    /// It belongs to another user, or others can write to it.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// A file in it is unusable.
    #[error("{path} can't be {verb}: {source}\ncheck who owns the data directory and that its disk has space")]
    File {
        /// The file.
        path: String,
        /// The failed operation: read or written.
        verb: &'static str,
        /// The error.
        source: io::Error,
    },
}

impl DataDir {
    /// The directory, created with its parents if it does not exist.
    ///
    /// # Errors
    /// [`DataDirError::NotMade`].
    pub fn make(path: &Path) -> Result<Self, DataDirError> {
        let not_made = |source: io::Error| {
            let source = match ownership::trouble(&[path.to_owned()]) {
                Some(trouble) => io::Error::new(source.kind(), format!("{source}\n{trouble}")),
                None => source,
            };
            DataDirError::NotMade { path: path.display().to_string(), source }
        };
        if !path.is_dir() {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(not_made)?;
            }
            DirBuilder::new().mode(0o700).create(path).or_else(|error| match error.kind() {
                ErrorKind::AlreadyExists if path.is_dir() => Ok(()),
                _ => Err(not_made(error)),
            })?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The directory, created if it does not exist. Fails if it belongs to another user, or others can write to it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub(crate) fn make_for(path: &Path, role: Role) -> Result<Self, DataDirError> {
        ownership::check_data_dir(path, role)?;
        Self::make(path)
    }

    /// The directory, if it exists.
    pub fn at(path: &Path) -> Option<Self> {
        path.is_dir().then(|| Self { path: path.to_owned() })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with secrets that were generated here.
    pub fn secrets_file(&self) -> PathBuf {
        self.path.join("secrets.toml")
    }

    /// The file with the first CLIENT token.
    pub fn client_token_file(&self) -> PathBuf {
        self.path.join("client-token")
    }

    /// The file that a running server locks.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Atomically writes or replaces a file that only its owner can access.
    ///
    /// # Errors
    /// [`DataDirError::File`].
    pub fn write_private(&self, path: &Path, text: &str) -> Result<(), DataDirError> {
        let temporary = self.write_temporary(path, text)?;
        std::fs::rename(&temporary, path).map_err(|source| {
            let _ = std::fs::remove_file(&temporary);
            not_written(path, source)
        })
    }

    /// Atomically writes such a file unless it exists; returns whether it was written.
    ///
    /// # Errors
    /// [`DataDirError::File`].
    pub fn write_private_once(&self, path: &Path, text: &str) -> Result<bool, DataDirError> {
        let temporary = self.write_temporary(path, text)?;
        // Unlike a rename, a link never replaces a file that another process created meanwhile.
        let linked = std::fs::hard_link(&temporary, path);
        let _ = std::fs::remove_file(&temporary);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(not_written(path, source)),
        }
    }

    fn write_temporary(&self, path: &Path, text: &str) -> Result<PathBuf, DataDirError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = self.path.join(name);
        // A file left by a dead process with the same id.
        let _ = std::fs::remove_file(&temporary);
        own_file::open(&temporary, OpenOptions::new().write(true).create_new(true))
            .and_then(|mut file| {
                ownership::leave_to_owner_of_directory(&file, &temporary)?;
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
            })
            .map_err(|source| not_written(path, source))?;
        Ok(temporary)
    }
}

fn not_written(path: &Path, source: io::Error) -> DataDirError {
    DataDirError::File { path: path.display().to_string(), verb: "written", source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_look_in() {
        let above = tempfile::tempdir().unwrap();
        let directory = DataDir::make(&above.path().join("a/b")).unwrap();
        assert_eq!(mode(directory.path()), 0o700);
        let file = directory.client_token_file();
        directory.write_private(&file, "one").unwrap();
        directory.write_private(&file, "two").unwrap();
        assert_eq!((mode(&file), std::fs::read_to_string(&file).unwrap().as_str()), (0o600, "two"));
        assert!(!directory.write_private_once(&file, "three").unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert!(directory.write_private_once(&directory.secrets_file(), "x").unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "temporary files are left");
    }

    #[test]
    fn a_file_in_its_place_is_reported() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("file");
        std::fs::write(&path, "").unwrap();
        assert!(DataDir::make(&path).unwrap_err().to_string().contains("can't be made"));
    }
}
