//! A file that is moved into place only when it is complete.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use rustix::io::Errno;

use crate::lock::beside;
use crate::own_file;

/// An incomplete file, private from its first byte. It is removed if it is dropped before it is put in place; the next process
/// takes over what a killed one left.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    placed: bool,
}

impl Partial {
    /// Creates a file beside `target`, to replace it later.
    ///
    /// # Errors
    /// If it cannot be created, or another process is writing it.
    pub(crate) fn begin(target: &Path) -> io::Result<Self> {
        let path = beside(target, ".partial");
        let file = own_file::open(&path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::other("another process is writing it at this moment")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        own_file::check_only_name(&file)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(0)?;
        remove_logs(&path);
        Ok(Self { file, path, target: target.to_owned(), placed: false })
    }

    /// Its temporary path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the file and moves it to `other`, replacing what is there.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn place_as(mut self, other: &Path) -> io::Result<()> {
        other.clone_into(&mut self.target);
        self.place(true)
    }

    /// Flushes it and gives it its name. Without `replace` one that is there stays, and this is an error.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn place(mut self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        remove_logs(&self.path);
        let renamed = match replace {
            true => std::fs::rename(&self.path, &self.target),
            false => rename_to_free_name(&self.path, &self.target),
        };
        renamed?;
        self.placed = true;
        flush_directory(&self.target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.placed {
            let _ = std::fs::remove_file(&self.path);
            remove_logs(&self.path);
        }
    }
}

/// What SQLite keeps beside a database that it has open, or that a killed process had.
fn remove_logs(path: &Path) {
    for ending in ["-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(beside(path, ending));
    }
}

fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems don't know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if to.symlink_metadata().is_err() => std::fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

/// Makes a rename in it survive a power cut.
pub(crate) fn flush_directory(file: &Path) -> io::Result<()> {
    File::open(directory_of(file))?.sync_all()
}

/// The directory that a file is in.
pub(crate) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Bytes that are free for a file.
pub(crate) fn free_space(file: &Path) -> io::Result<u64> {
    let stat = statvfs(directory_of(file))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
