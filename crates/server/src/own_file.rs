//! Opens files of the data directory safely: only regular files, without following symbolic links (except for reading text),
//! created with mode 600.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::ownership;

/// Larger than any file that is read as a whole.
const MAX_TEXT: u64 = 1024 * 1024;

/// Opens a file with `options`. Symbolic links, pipes and devices are rejected.
///
/// # Errors
/// The system's error, or a description if it is not a regular file.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, OFlags::NOFOLLOW)
}

fn open_with(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe would block for ever.
    let flags = flags | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = options.open(path).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::new(
            ErrorKind::InvalidInput,
            "it is a symbolic link, which is not followed; remove it, or put a file in its place",
        ),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => match ownership::trouble(&[path.to_owned()]) {
            Some(trouble) => io::Error::new(error.kind(), format!("{error}\n{trouble}")),
            None => error,
        },
        _ => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file; remove it"));
    }
    ownership::check_file(path, &found).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    Ok(file)
}

/// Rejects a file with hard links, one of which may belong to another program.
///
/// # Errors
/// If there are other names.
pub(crate) fn check_only_name(file: &File) -> io::Result<()> {
    match file.metadata()?.nlink() {
        0 | 1 => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "it has another name (a hard link); remove this one")),
    }
}

/// Reads a text file. Symbolic links are followed, because Kubernetes and Nix provide secrets that way; their target must
/// satisfy the same rules.
///
/// # Errors
/// Like [`open`]; also for a dangling link, and for a file that is not UTF-8 or is longer than a MiB.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let file = open_with(path, OpenOptions::new().read(true), OFlags::empty()).map_err(|error| {
        // Not `NotFound`, because callers would then create the file.
        match error.kind() == ErrorKind::NotFound && path.is_symlink() {
            true => io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link that leads to nothing"),
            false => error,
        }
    })?;
    let mut text = String::new();
    file.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}
