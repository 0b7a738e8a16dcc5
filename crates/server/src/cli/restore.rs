use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chatsphere_core::{Clock, SystemClock};
use chatsphere_store::{CheckedCopy, OpenError};
use clap::Args;

use super::backup::{is_sqlite, mib, secrets_file, show_progress};
use super::error::CliError;
use super::output::{answer, note};
use crate::config::{DatabaseFlags, Settings};
use crate::data_dir::DataDir;
use crate::installation::restore_mark;
use crate::lock::{InstallationLock, beside, database_file};
use crate::log;
use crate::own_file;
use crate::ownership::{self, Role};
use crate::partial::{Partial, flush_directory, free_space};
use crate::secrets::Secrets;
use crate::start_error::StartError;

/// Bytes copied per step.
const STEP: usize = 4 * 1024 * 1024;

/// Replace the database by a backup, with the server stopped.
#[derive(Debug, Args)]
#[command(
    after_help = "What was there is kept under another name. Clients read their rooms anew, since the data gets another \
     epoch.\n\
    FILE.secrets.toml is put back too, if it is there."
)]
pub(crate) struct Restore {
    /// The backup, as written by `chatsphere backup`
    file: PathBuf,
    /// The backup's secrets [default: FILE.secrets.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The backup's secrets are lost: use the present ones, or create new ones; all issued tokens become invalid
    #[arg(long, conflicts_with = "secrets")]
    forget_secrets: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

/// The secrets that accompany a backup.
struct Brought {
    text: String,
    secrets: Secrets,
}

impl Restore {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.clone().load()?.settings;
        log::start(&settings);
        let url = settings.database();
        let Some(path) = url.sqlite_path() else {
            return Err(CliError::UsePgRestore(url.to_string().replacen(":***@", "@", 1)));
        };
        if !is_sqlite(&self.file) {
            return Err(self.unfit());
        }
        let made = !settings.data_dir.exists();
        let directory = DataDir::make_for(&settings.data_dir, Role::Operator).map_err(StartError::from)?;
        let failed = |error| CliError::File { path: path.display().to_string(), error };
        let database = database_file(path).map_err(failed)?;
        ownership::check_database(&database, Role::Operator).map_err(StartError::from)?;
        let _lock = InstallationLock::take(Some(&directory), &url).await.map_err(StartError::from)?;

        let copy = Partial::begin(&beside(&database, ".restored")).map_err(failed)?;
        ownership::leave_to_owner_of_directory(copy.file(), copy.path()).map_err(failed)?;
        self.copy_in(&copy)?;
        let checked = chatsphere_store::check_copy(copy.path()).await.map_err(|error| self.not_restored(error))?;
        let brought = self.check_secrets(&settings, &directory, &checked)?;
        let epoch =
            chatsphere_store::adopt_copy(copy.path(), self.forget_secrets).await.map_err(|error| self.not_restored(error))?;

        let kept = put_in_place(copy, &database, &directory, brought.as_ref())
            .map_err(|error| CliError::RestoreCutOff { path: database.display().to_string(), error })?;
        log::audit("installation.restore");
        answer(format_args!(
            "{url}: restored from {}, {} users and {} rooms",
            self.file.display(),
            checked.users,
            checked.rooms
        ));
        match epoch {
            Some(epoch) => note(format_args!("the epoch is now {}; clients read their rooms anew", epoch.as_str())),
            None => note("the next start gives it an epoch; clients read their rooms anew"),
        }
        for path in &kept {
            note(format_args!("what was there is kept as {}", path.display()));
        }
        if self.forget_secrets {
            note(
                "no token that was given out is good any more; make new ones with `chatsphere token create` after the first \
                 start",
            );
        } else {
            note("tokens that were revoked after the backup are good again: revoke them again");
        }
        if made && ownership::this_user() == 0 {
            note(format_args!(
                "{0} belongs to root now; if the server runs as another user: chown -R USER: {0}",
                settings.data_dir.display()
            ));
        }
        Ok(())
    }

    fn unfit(&self) -> CliError {
        let shown = self.file.display();
        CliError::BackupFile(match File::open(&self.file) {
            Err(error) => format!("{shown} can't be read: {error}"),
            Ok(_) => format!("{shown} is no backup made by `chatsphere backup`: it is not a SQLite file"),
        })
    }

    fn not_restored(&self, error: OpenError) -> CliError {
        let reason = match error {
            OpenError::Damaged { reason, .. } => format!("it is damaged ({reason}); take another backup"),
            OpenError::NotADatabase { reason, .. } => format!("it is no ChatSphere database: {reason}"),
            error => error.to_string(),
        };
        CliError::BackupFile(format!("{} was not restored, and nothing was changed: {reason}", self.file.display()))
    }

    /// The backup is only read: SQLite creates no files beside it.
    fn copy_in(&self, copy: &Partial) -> Result<(), CliError> {
        let failed = |error| CliError::File { path: copy.path().display().to_string(), error };
        // The log of a database that was copied by hand.
        let log = beside(&self.file, "-wal");
        let size = |path: &Path| path.metadata().map_or(0, |found| found.len());
        let (needed, free) = (size(&self.file) + size(&log), free_space(copy.path()).unwrap_or(u64::MAX));
        if free < needed {
            return Err(CliError::BackupFile(format!(
                "{} needs {}, and {} are free",
                self.file.display(),
                mib(needed),
                mib(free)
            )));
        }
        copy_bytes(&self.file, copy.file(), size(&self.file)).map_err(failed)?;
        if size(&log) > 0 {
            note(format_args!("{} lies beside the backup, and is taken for a part of it", log.display()));
            let beside_copy = beside(copy.path(), "-wal");
            let file = own_file::open(&beside_copy, File::options().write(true).create_new(true)).map_err(failed)?;
            ownership::leave_to_owner_of_directory(&file, &beside_copy).map_err(failed)?;
            copy_bytes(&log, &file, size(&log)).map_err(failed)?;
        }
        Ok(())
    }

    /// Checks before any change whether a server can start on the backup.
    fn check_secrets(
        &self,
        settings: &Settings,
        directory: &DataDir,
        checked: &CheckedCopy,
    ) -> Result<Option<Brought>, CliError> {
        let beside = secrets_file(&self.file);
        let file = self.secrets.clone().or_else(|| beside.exists().then_some(beside));
        let brought = match file.filter(|_| !self.forget_secrets) {
            Some(file) => {
                let failed = |error| CliError::File { path: file.display().to_string(), error };
                let text = std::fs::read_to_string(&file).map_err(failed)?;
                let secrets = Secrets::from_text(settings, directory, &file, &text).map_err(StartError::from)?;
                Some(Brought { text, secrets })
            }
            None => None,
        };
        if self.forget_secrets {
            return Ok(None);
        }
        let here = match &brought {
            Some(brought) => Some(brought.secrets.clone()),
            None => Secrets::find(settings, directory).map_err(StartError::from)?,
        };
        let fits = match &here {
            Some(secrets) => checked.compare(&secrets.fingerprints()).is_ok(),
            None => !checked.knows_keys(),
        };
        match (fits, brought.is_some()) {
            (true, _) => Ok(brought),
            (false, came_with_it) => Err(CliError::SecretsDontFit {
                backup: self.file.display().to_string(),
                whose: if came_with_it { "those that come with it" } else { "those that are here" },
                beside: secrets_file(&self.file).display().to_string(),
            }),
        }
    }
}

fn copy_bytes(from: &Path, mut to: &File, of: u64) -> io::Result<()> {
    let tell = show_progress("copied");
    let (mut from, mut buffer, mut at) = (File::open(from)?, vec![0; STEP], 0);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..count).unwrap_or_default())?;
        at += u64::try_from(count).unwrap_or_default();
        tell(at, of);
    }
}

/// The prefix of the suffix under which replaced files are kept.
const ASIDE: &str = ".before-restore-";

/// The suffix under which the present files are kept: that of an interrupted restore, so that a database and its log stay
/// together; a new one if that restore has already moved these files, because the present ones are then its own.
fn suffix(mark: &Path, files: [&Path; 2]) -> io::Result<String> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let is_free = |suffix: &String| !files.iter().any(|file| is_there(file) && is_there(&beside(file, suffix)));
    let is_one = |suffix: &String| {
        let rest = suffix.strip_prefix(ASIDE);
        rest.is_some_and(|rest| rest.len() <= 32 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    };
    if let Some(begun) = own_file::read(mark).ok().filter(is_one).filter(is_free) {
        return Ok(begun);
    }
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().as_millis()).map_err(io::Error::other)?;
    let new = format!("{ASIDE}{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let numbered = (2..100).map(|number| format!("{new}-{number}"));
    let free = std::iter::once(new.clone()).chain(numbered).find(is_free);
    free.ok_or_else(|| io::Error::other("every name is taken under which what is there could be kept"))
}

/// Moves the present files aside and the copy into place. A mark file exists meanwhile, so that no server starts on a partial
/// restore. Returns the new paths of the old files.
fn put_in_place(copy: Partial, database: &Path, directory: &DataDir, brought: Option<&Brought>) -> io::Result<Vec<PathBuf>> {
    let mark = restore_mark(database);
    let suffix = suffix(&mark, [database, &directory.secrets_file()])?;
    let marking = Partial::begin(&mark)?;
    ownership::leave_to_owner_of_directory(marking.file(), marking.path())?;
    marking.file().write_all(suffix.as_bytes())?;
    marking.place(true)?;
    let mut kept = Vec::new();
    let mut keep = |path: &Path, aside: PathBuf| -> io::Result<()> {
        if path.symlink_metadata().is_ok() {
            std::fs::rename(path, &aside)?;
            kept.push(aside);
        }
        Ok(())
    };
    // SQLite expects the log under this name beside the database.
    let aside = beside(database, &suffix);
    for ending in ["", "-wal", "-shm"] {
        keep(&beside(database, ending), beside(&aside, ending))?;
    }
    if let Some(brought) = brought {
        let file = directory.secrets_file();
        if std::fs::read_to_string(&file).is_ok_and(|text| text != brought.text) {
            keep(&file, beside(&file, &suffix))?;
        }
        directory.write_private(&file, &brought.text).map_err(io::Error::other)?;
    }
    copy.place_as(database)?;
    std::fs::remove_file(&mark)?;
    flush_directory(&mark)?;
    Ok(kept)
}
