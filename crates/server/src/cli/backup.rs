use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chatsphere_store::{CopyError, DatabaseUrl, Progress};
use clap::Args;

use super::error::CliError;
use super::output::{answer, note};
use crate::config::{DatabaseFlags, Settings};
use crate::data_dir::DataDir;
use crate::installation;
use crate::lock::{beside, database_file};
use crate::log;
use crate::partial::{Partial, directory_of, free_space};
use crate::secrets::Secrets;
use crate::start_error::StartError;

/// The header of every SQLite file.
pub(super) const SQLITE: &[u8] = b"SQLite format 3\0";
const MIB: u64 = 1024 * 1024;
/// How often progress is reported.
const TELL: Duration = Duration::from_secs(1);

/// Copy the current database into a file while the server runs.
#[derive(Debug, Args)]
#[command(after_help = "The file holds every message: it is made with mode 600. `chatsphere restore FILE` puts it back.\n\
    The secrets must be kept with it, or nothing can be restored: --with-secrets writes them to FILE.secrets.toml.")]
pub(crate) struct Backup {
    /// The file to make
    file: PathBuf,
    /// Write the secrets too, to FILE.secrets.toml
    #[arg(long)]
    with_secrets: bool,
    /// Replace an older backup of this name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Backup {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.clone().load()?.settings;
        log::start(&settings);
        let url = settings.database();
        let Some(database) = url.sqlite_path() else { return Err(CliError::UsePgDump(pg_dump(&url, &self.file))) };
        installation::require(&settings)?;
        let secrets = find_secrets(&settings)?;
        if self.with_secrets && secrets.is_none() {
            return Err(CliError::NoSecrets(settings.data_dir.display().to_string()));
        }
        self.check_target(database)?;
        let failed = |error| CliError::File { path: self.file.display().to_string(), error };
        let partial = Partial::begin(&self.file).map_err(failed)?;
        let bytes = chatsphere_store::copy(&url, partial.path(), show_progress("copied"))
            .await
            .map_err(|error| explain(error, &settings))?;
        if let Some(secrets) = secrets.filter(|_| self.with_secrets) {
            write_secrets(&secrets_file(&self.file), &secrets, self.force)?;
        }
        partial.place(self.force).map_err(failed)?;
        log::audit("installation.backup");
        answer(format_args!("{}: {} of {url}", self.file.display(), mib(bytes)));
        note(self.about_secrets(&settings));
        Ok(())
    }

    fn about_secrets(&self, settings: &Settings) -> String {
        if self.with_secrets {
            return format!(
                "the secrets are in {}; keep both files together, where nobody else reads them",
                secrets_file(&self.file).display()
            );
        }
        let kept = settings.data_dir.join("secrets.toml");
        let which = match kept.exists() {
            true => format!("keep a copy of {} with it", kept.display()),
            false => "keep JWT_SECRET, JWT_API_SECRET and CHATSPHERE_CONTENT_KEY with it".to_owned(),
        };
        format!("{which}: without the secrets it can't be restored (--with-secrets puts them beside it)")
    }

    /// Checks the target before anything is copied.
    fn check_target(&self, database: &Path) -> Result<(), CliError> {
        let shown = self.file.display();
        let refuse = |reason: String| Err(CliError::BackupFile(reason));
        if self.file.is_dir() {
            return refuse(format!("{shown} is a directory; name a file in it, such as {shown}/chatsphere.backup"));
        }
        if !directory_of(&self.file).is_dir() {
            return refuse(format!("the directory of {shown} is not there; make it"));
        }
        let own = database_file(database).map(|own| ["", "-wal", "-shm", ".lock"].map(|ending| beside(&own, ending)));
        if let (Ok(target), Ok(own)) = (database_file(&self.file), own)
            && own.contains(&target)
        {
            return refuse(format!("{shown} belongs to the database itself; name another file"));
        }
        let files = [Some(self.file.clone()), self.with_secrets.then(|| secrets_file(&self.file))];
        for file in files.into_iter().flatten().filter(|file| file.symlink_metadata().is_ok()) {
            let shown = file.display();
            if !self.force {
                return refuse(format!("{shown} is there already; name another file, or replace it with --force"));
            }
            if file == self.file && !is_sqlite(&file) {
                return refuse(format!("{shown} is no backup, so it is not replaced; name another file"));
            }
        }
        let needed: u64 = [database.to_owned(), beside(database, "-wal")]
            .iter()
            .filter_map(|file| file.metadata().ok())
            .map(|f| f.len())
            .sum();
        match free_space(&self.file) {
            Ok(free) if free < needed => refuse(format!(
                "{shown} needs up to {}, and {} are free there; make space, or name a file on another disk",
                mib(needed),
                mib(free)
            )),
            _ => Ok(()),
        }
    }
}

/// The file with the secrets of a backup.
pub(super) fn secrets_file(backup: &Path) -> PathBuf {
    beside(backup, ".secrets.toml")
}

pub(super) fn is_sqlite(file: &Path) -> bool {
    let mut head = [0; SQLITE.len()];
    file.is_file() && File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == SQLITE
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
}

/// Reports progress on standard error, at most once a second.
pub(super) fn show_progress(done: &'static str) -> Progress {
    let last = Mutex::new(Instant::now());
    Box::new(move |at, of| {
        let Ok(mut last) = last.lock() else { return };
        if last.elapsed() >= TELL && of > 0 {
            note(format_args!("{done} {} %", at.saturating_mul(100) / of));
            *last = Instant::now();
        }
    })
}

fn explain(error: CopyError, settings: &Settings) -> CliError {
    match error {
        CopyError::Database(error) => StartError::database(error, None, settings).into(),
        error => CliError::Copy(error),
    }
}

fn find_secrets(settings: &Settings) -> Result<Option<Secrets>, CliError> {
    let found = match DataDir::at(&settings.data_dir) {
        Some(directory) => Secrets::find(settings, &directory),
        None => Secrets::given(settings),
    };
    Ok(found.map_err(StartError::from)?)
}

fn write_secrets(file: &Path, secrets: &Secrets, replace: bool) -> Result<(), CliError> {
    use std::io::Write;

    let failed = |error| CliError::File { path: file.display().to_string(), error };
    let partial = Partial::begin(file).map_err(failed)?;
    partial.file().write_all(secrets.to_toml().as_bytes()).map_err(failed)?;
    match partial.place(replace) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(CliError::BackupFile(format!(
            "{} is there already; name another file, or replace it with --force",
            file.display()
        ))),
        placed => placed.map_err(failed),
    }
}

/// The equivalent command for PostgreSQL, without a password.
fn pg_dump(url: &DatabaseUrl, file: &Path) -> String {
    let url = url.to_string().replacen(":***@", "@", 1);
    format!("pg_dump --format=custom --file='{}' --dbname='{url}'", file.display())
}
