//! Opening files of the data directory: never through a link, never anything but a file, and made for the owner's eyes alone.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
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
    // Without NONBLOCK a pipe in its place would hold the process up for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
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

/// The text of a file.
///
/// # Errors
/// As [`open`]; and if it is no UTF-8, or longer than a MiB.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let file = open(path, OpenOptions::new().read(true))?;
    let mut text = String::new();
    file.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}
