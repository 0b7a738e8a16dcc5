//! Opening files of the data directory: never through a link but for reading its text, never anything but a file, and made for
//! the owner's eyes alone.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::ownership;

/// More than any file holds that is read whole.
const MAX_TEXT: u64 = 1024 * 1024;

/// Opens a file as `options` say. A symbolic link, a pipe or a device in its place is refused.
///
/// # Errors
/// Whatever the system says, in words where it is no file.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, OFlags::NOFOLLOW)
}

fn open_with(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    // Without NONBLOCK a pipe in its place would hold the process up for ever.
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

/// Refuses a file that has other names, of which one may be another program's.
///
/// # Errors
/// If it has.
pub(crate) fn check_only_name(file: &File) -> io::Result<()> {
    match file.metadata()?.nlink() {
        0 | 1 => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "it has another name (a hard link); remove this one")),
    }
}

/// The text of a file. A symbolic link is followed, since Kubernetes and Nix lay secrets down that way; what it leads to is
/// held to the same rules.
///
/// # Errors
/// As [`open`]; if a link leads to nothing; and if it is no UTF-8, or longer than a MiB.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let file = open_with(path, OpenOptions::new().read(true), OFlags::empty()).map_err(|error| {
        // Not as if nothing were there: whoever finds nothing makes something.
        match error.kind() == ErrorKind::NotFound && path.is_symlink() {
            true => io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link that leads to nothing"),
            false => error,
        }
    })?;
    let mut text = String::new();
    file.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}
