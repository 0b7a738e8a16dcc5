//! Checks the owner and permissions of the installation's files, and suggests remedies.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

/// Write permission of the group and of others. Access control lists appear as group permissions.
const OTHERS_WRITE: u32 = 0o022;
/// In a directory with this bit only owners may remove and rename files, as in `/tmp`.
const STICKY: u32 = 0o1000;

/// Write permission of the group.
const GROUP_WRITE: u32 = 0o020;

/// Whether this process's groups may write to the installation (setting `trust_group`).
static GROUP_TRUSTED: AtomicBool = AtomicBool::new(false);

/// Allows or forbids this process's groups to write to the installation. A volume that belongs to a group, as with Kubernetes'
/// `fsGroup`, is writable for that group.
pub(crate) fn trust_group(trusted: bool) {
    GROUP_TRUSTED.store(trusted, Ordering::Relaxed);
}

/// Why a file is unsafe, if users other than its owner can write to it.
fn writable_by_others(found: &Metadata) -> Option<&'static str> {
    refused_write(found.mode(), is_own_group(found.gid()), GROUP_TRUSTED.load(Ordering::Relaxed))
}

/// The same for a mode: the remedy, or an empty text.
fn refused_write(mode: u32, own_group: bool, trusted: bool) -> Option<&'static str> {
    match mode & OTHERS_WRITE {
        0 => None,
        GROUP_WRITE if own_group && trusted => None,
        GROUP_WRITE if own_group => {
            Some("\nor, if everybody in its group is to be trusted, as with Kubernetes' fsGroup: set CHATSPHERE_TRUST_GROUP=on")
        }
        _ => Some(""),
    }
}

fn is_own_group(gid: u32) -> bool {
    getegid().as_raw() == gid || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// The role of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The server, which trusts the files: they must belong to its own user.
    Server,
    /// A command of the operator. Root may run one on another user's installation, and leaves the files to that user.
    Operator,
}

/// A file belongs to the wrong user, or others can change it. Contains the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsafe(String);

/// The user of this process.
pub(crate) fn this_user() -> u32 {
    geteuid().as_raw()
}

/// A user for messages: `chatsphere (uid 999)`.
pub(crate) fn user(uid: u32) -> String {
    name(uid).map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

/// The user as an argument of commands.
fn user_word(uid: u32) -> String {
    name(uid).unwrap_or_else(|| uid.to_string())
}

fn name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Rejects a data directory that belongs to another user or is writable for others, who could plant a database and secrets.
///
/// # Errors
/// [`Unsafe`].
pub(crate) fn check_data_dir(path: &Path, role: Role) -> Result<(), Unsafe> {
    let Ok(found) = path.metadata() else { return Ok(()) };
    let shown = path.display();
    // Root's directories are acceptable, because root can do anything anyway, and the root directory of a volume often belongs
    // to root.
    if found.uid() != 0 {
        check_owner(path, &found, role, &format!("or name another directory with --data-dir, such as {shown}/data"))?;
    }
    if let Some(way_out) = writable_by_others(&found) {
        return Err(Unsafe(format!(
            "other users can write to the data directory {shown} (mode {:04o}), and put a database and secrets of their own \
             there\n\
             look at what is in it, then: chmod go-w {shown}{way_out}",
            found.mode() & 0o7777
        )));
    }
    Ok(())
}

/// The same for a database file and its directory. Absent files are in order.
///
/// # Errors
/// [`Unsafe`].
pub(crate) fn check_database(file: &Path, role: Role) -> Result<(), Unsafe> {
    if let Some(directory) = file.parent()
        && let Ok(found) = directory.metadata()
    {
        let shown = directory.display();
        if found.uid() != 0 {
            check_owner(directory, &found, role, "or move the database to a directory of its own")?;
        }
        if let Some(way_out) = writable_by_others(&found)
            && found.mode() & STICKY == 0
        {
            return Err(Unsafe(format!(
                "other users can write to {shown} (mode {:04o}), where the database is, and put another in its place\n\
                 chmod go-w {shown}, or move the database to a directory of its own{way_out}",
                found.mode() & 0o7777
            )));
        }
    }
    for file in files_of(file) {
        let Ok(found) = file.metadata() else { continue };
        // An inaccessible file is reported where it fails, with a remedy for all files.
        if found.uid() != this_user() && access(&file, Access::READ_OK | Access::WRITE_OK).is_err() {
            continue;
        }
        check_owner(&file, &found, role, "after a look at where it comes from")?;
        if let Some(way_out) = writable_by_others(&found) {
            let shown = file.display();
            return Err(Unsafe(format!(
                "other users can write to {shown} (mode {:04o})\nchmod go-w {shown}{way_out}",
                found.mode() & 0o7777
            )));
        }
    }
    Ok(())
}

/// The same for another file of the installation, which may also belong to root or to the owner of its directory.
///
/// # Errors
/// [`Unsafe`].
pub(crate) fn check_file(path: &Path, found: &Metadata) -> Result<(), Unsafe> {
    let shown = path.display();
    let directory = crate::partial::directory_of(path).metadata().map(|found| found.uid());
    if ![this_user(), 0].contains(&found.uid()) && directory.ok() != Some(found.uid()) {
        return Err(Unsafe(format!(
            "it belongs to {}, and this process runs as {}\nlook at what is in it, then: chown {}: {shown}",
            user(found.uid()),
            user(this_user()),
            user_word(this_user()),
        )));
    }
    if let Some(way_out) = writable_by_others(found) {
        let mode = found.mode() & 0o7777;
        return Err(Unsafe(format!(
            "other users can write to it (mode {mode:04o})\nlook at what is in it, then: chmod 600 {shown}{way_out}"
        )));
    }
    Ok(())
}

/// A database and the files that SQLite keeps beside it.
pub(crate) fn files_of(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| crate::lock::beside(database, ending))
}

fn check_owner(path: &Path, found: &Metadata, role: Role, otherwise: &str) -> Result<(), Unsafe> {
    let (owner, me) = (found.uid(), this_user());
    if owner == me || (role == Role::Operator && me == 0) {
        return Ok(());
    }
    let shown = path.display();
    Err(Unsafe(format!(
        "{shown} belongs to {}, and this process runs as {}\n\
         run it as that user (sudo -u {} chatsphere …), or give it to this one: chown -R {}: {shown}; {otherwise}",
        user(owner),
        user(me),
        user_word(owner),
        user_word(me),
    )))
}

/// The first of these paths that this process cannot read and write, with its owner and a command that fixes it. For a missing
/// file, which may have to be created, the directory is checked.
pub(crate) fn trouble(paths: &[PathBuf]) -> Option<String> {
    paths.iter().find_map(|path| trouble_at(path))
}

fn trouble_at(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for directory in above.iter().rev() {
        match access(*directory, Access::EXEC_OK) {
            Ok(()) => {}
            Err(Errno::ACCESS) => return Some(denied(directory, "enter it", "x")),
            Err(_) => return None,
        }
    }
    let (target, wanted) = match path.symlink_metadata() {
        Ok(_) => (path.as_path(), Access::READ_OK | Access::WRITE_OK),
        Err(error) if error.kind() == ErrorKind::NotFound => (*above.first()?, Access::WRITE_OK),
        Err(_) => return None,
    };
    match access(target, wanted) {
        Err(Errno::ACCESS) => Some(denied(target, "read and write it", "rw")),
        Err(Errno::ROFS) => Some(format!(
            "{} is on a file system that is mounted read-only; look at `dmesg` for why, then: mount -o remount,rw MOUNTPOINT",
            target.display()
        )),
        Err(Errno::PERM) => Some(format!("{0} is marked as unchangeable; chattr -i {0}", target.display())),
        _ => None,
    }
}

fn denied(path: &Path, what: &str, permission: &str) -> String {
    let Ok(found) = path.metadata() else { return format!("{} can't be looked at", path.display()) };
    let (shown, me) = (path.display(), this_user());
    let mode = found.permissions().mode() & 0o7777;
    let cure = if found.uid() == me {
        format!("chmod u+{permission} {shown}")
    } else if permission == "x" {
        format!("chown -R {0}: {shown} if it is the server's alone, otherwise: chmod o+x {shown}", user_word(me))
    } else {
        // All files beside it usually have the same origin.
        let all = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        format!("chown -R {}: {}", user_word(me), all.display())
    };
    format!(
        "{shown} belongs to {} (mode {mode:04o}), and this process, which runs as {}, may not {what}\n{cure}",
        user(found.uid()),
        user(me)
    )
}

/// Gives a file that root created in another user's directory to that user.
pub(crate) fn leave_to_owner_of_directory(file: &std::fs::File, path: &Path) -> std::io::Result<()> {
    if this_user() != 0 {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let (directory, found) = (parent.metadata()?, file.metadata()?);
    if found.uid() == 0 && directory.uid() != 0 {
        std::os::unix::fs::fchown(file, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(())
}

/// Creates a missing database as the owner of its directory if root runs in another user's directory. SQLite gives its own
/// files the database's owner.
pub(crate) fn make_database(path: &Path) -> std::io::Result<()> {
    if this_user() != 0 || path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let made = crate::own_file::open(path, std::fs::File::options().write(true).create_new(true))?;
    leave_to_owner_of_directory(&made, path)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};

    use super::*;

    #[test]
    fn users_have_names() {
        assert_eq!(user(0), "root (uid 0)");
        assert_eq!(user(4_000_000_000), "uid 4000000000");
    }

    #[test]
    fn a_trusted_group_is_one_of_the_processs_own() {
        for (mode, own, trusted, refused) in [
            (0o2755, true, false, false),
            (0o2775, true, false, true),
            (0o2775, true, true, false),
            (0o2775, false, true, true),
            (0o2777, true, true, true),
            (0o602, true, true, true),
        ] {
            assert_eq!(refused_write(mode, own, trusted).is_some(), refused, "{mode:o} {own} {trusted}");
        }
        assert!(refused_write(0o660, true, false).is_some_and(|way_out| way_out.contains("CHATSPHERE_TRUST_GROUP")));
        assert!(is_own_group(getegid().as_raw()) && !is_own_group(4_000_000_000));
    }

    #[test]
    fn a_database_that_root_makes_is_its_directorys_owners() {
        if this_user() != 0 {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
        let path = directory.path().join("chat.db");
        make_database(&path).unwrap();
        make_database(&path).unwrap();
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (65_534, 0o600));
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("chat.db");
        std::fs::write(&database, "").unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (directory_mode, file_mode, data_dir_ok, database_ok) in [
            (0o700, 0o600, true, true),
            (0o755, 0o644, true, true),
            (0o770, 0o600, false, false),
            (0o702, 0o600, false, false),
            (0o1777, 0o600, false, true),
            (0o700, 0o620, true, false),
            (0o700, 0o602, true, false),
        ] {
            mode(directory.path(), directory_mode);
            mode(&database, file_mode);
            let case = format!("{directory_mode:o} {file_mode:o}");
            assert_eq!(check_data_dir(directory.path(), Role::Server).is_ok(), data_dir_ok, "{case}");
            assert_eq!(check_database(&database, Role::Operator).is_ok(), database_ok, "{case}");
        }
    }
}
