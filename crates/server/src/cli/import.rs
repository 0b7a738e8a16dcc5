//! `chatsphere import`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use chatsphere_core::ops;
use chatsphere_store::{
    DatabaseUrl, Derived, ImportObserver, ImportOptions, ImportReport, Stage, Tally, check_nodejs, import_nodejs,
};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::error::CliError;
use super::output::{answer, note, table};
use super::progress::Progress;
use crate::admin::Operator;
use crate::config::{DatabaseFlags, Settings};
use crate::data_dir::DataDir;
use crate::installation;
use crate::lock::{InstallationLock, database_file};
use crate::log;
use crate::ownership::{self, Role};
use crate::secrets::Secrets;
use crate::start_error::StartError;

/// Maximum number of items of a kind that are listed individually.
const LISTED: usize = 1_000;

/// Import another chat's data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import users, rooms, members and messages of ChatSphere's Node.js version
    Nodejs(Box<Nodejs>),
}

/// Import users, rooms, members and messages of ChatSphere's Node.js version, with their ids, authors and times. The old
/// database is only read. Running the command again continues an interrupted import, and adds newer data. Tokens are not
/// imported.
#[derive(Debug, Args)]
pub(crate) struct Nodejs {
    /// The old database: its DATABASE_URL. - reads it from standard input, so that other users of the machine do not see its
    /// password
    source: String,
    /// The user, by name or id, that will own all rooms [default: each room's first author]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Keep the roles ADMIN and MODERATOR, which had no effect in the Node.js version. By default every user becomes a MEMBER
    #[arg(long)]
    keep_roles: bool,
    /// Rename a user whose name is taken to NAME-2. By default the user is skipped, with its messages
    #[arg(long)]
    rename: bool,
    /// Write all ids that were not UUIDs to this file, each with its replacement
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Command {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let Self::Nodejs(nodejs) = self;
        nodejs.run().await
    }
}

impl Nodejs {
    async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.clone().load()?.settings;
        log::start(&settings);
        let source = self.source()?;
        // Before anything is created: a mistyped URL must not become an empty database.
        check_nodejs(&source).await?;
        let directory = DataDir::make_for(&settings.data_dir, Role::Operator).map_err(StartError::from)?;
        installation::check_files(&settings, Role::Operator)?;
        // A server on SQLite caches what it has read. On PostgreSQL it expects other writers.
        let target = settings.database();
        let _lock = match target.is_sqlite() {
            true => Some(InstallationLock::take(Some(&directory), &target).await.map_err(StartError::from)?),
            false => None,
        };
        if let Some(path) = target.sqlite_path() {
            let failed = |error| CliError::File { path: path.display().to_string(), error };
            ownership::make_database(&database_file(path).map_err(failed)?).map_err(failed)?;
        }
        let options = self.options(&settings, &directory, source).await?;
        let mut teller = Teller::new(self.ids.as_deref().map(ids_file).transpose()?);
        let imported = import_nodejs(&options, &mut teller).await;
        teller.progress.end();
        // Notes from before a failure are worth reporting too.
        let told = teller.finish();
        let report = imported?;
        log::audit("installation.import");
        told?;
        tell(&report);
        Ok(())
    }

    fn source(&self) -> Result<DatabaseUrl, CliError> {
        let mut text = self.source.clone();
        if text == "-" {
            text.clear();
            std::io::stdin().read_to_string(&mut text)?;
        }
        text.trim().parse().map_err(CliError::Url)
    }

    /// Initialises an empty database as a first start does, so that there is an ADMIN, and resolves the import's options.
    async fn options(&self, settings: &Settings, directory: &DataDir, source: DatabaseUrl) -> Result<ImportOptions, CliError> {
        let secrets = Secrets::resolve(settings, directory).map_err(StartError::from)?;
        let operator = Operator::open(settings, Some(directory.clone()), &secrets).await?;
        let caller = operator.caller_or_first().await;
        operator.close().await;
        let (caller, first) = caller?;
        if let Some(first) = first {
            note(format_args!("made the first user, {}, and its CLIENT token in {}", ops::FIRST_ADMIN, first.file.display()));
        }
        Ok(ImportOptions {
            source,
            target: settings.database(),
            keys: secrets.fingerprints(),
            owner: self.owner.clone(),
            last_resort: caller.user.id,
            keep_roles: self.keep_roles,
            rename: self.rename,
        })
    }
}

fn ids_file(path: &std::path::Path) -> Result<BufWriter<File>, std::io::Error> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.map(BufWriter::new).map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Reports the import's progress, and collects notes for its end.
struct Teller {
    progress: Progress,
    derived: [Vec<String>; 3],
    more: [u64; 3],
    names: Vec<String>,
    more_names: u64,
    file: Option<BufWriter<File>>,
    failed: Option<std::io::Error>,
}

impl Teller {
    fn new(file: Option<BufWriter<File>>) -> Self {
        let progress = Progress::new(std::io::stderr().is_terminal());
        Self { progress, derived: Default::default(), more: [0; 3], names: Vec::new(), more_names: 0, file, failed: None }
    }

    fn finish(mut self) -> Result<(), CliError> {
        if !self.names.is_empty() {
            answer("names that are taken:");
            self.names.iter().for_each(|line| answer(format_args!("  {line}")));
            if self.more_names > 0 {
                answer(format_args!("  and {} more", self.more_names));
            }
        }
        let total: u64 = self.more.iter().sum::<u64>() + self.derived.iter().map(|lines| lines.len() as u64).sum::<u64>();
        if total > 0 {
            answer(format_args!("ids that were no UUIDs, and those that stand for them ({total}):"));
            for (lines, (more, kind)) in self.derived.iter().zip(self.more.iter().zip(["users", "rooms", "messages"])) {
                lines.iter().for_each(|line| answer(format_args!("  {line}")));
                if *more > 0 {
                    answer(format_args!("  and {more} more {kind}; --ids FILE writes all of them"));
                }
            }
        }
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        self.failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl ImportObserver for Teller {
    fn progress(&mut self, stage: Stage, done: u64, total: u64) {
        let what = match stage {
            Stage::Users => "users",
            Stage::Rooms => "rooms",
            Stage::Members => "members",
            Stage::Messages => "messages",
            Stage::Checking => "rooms checked",
        };
        self.progress.tell(what, done, total);
    }

    fn derived(&mut self, kind: Derived, old: &str, new: Uuid) {
        let (place, word) = match kind {
            Derived::User => (0, "user"),
            Derived::Room => (1, "room"),
            Derived::Message => (2, "message"),
        };
        // Quoted, because the old id may contain any character.
        let line = format!("{word} {old:?} is now {new}");
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{line}")
        {
            self.failed = Some(error);
            self.file = None;
        }
        match (self.derived.get_mut(place), self.more.get_mut(place)) {
            (Some(lines), _) if lines.len() < LISTED => lines.push(line),
            (_, Some(more)) => *more += 1,
            _ => {}
        }
    }

    fn name_taken(&mut self, name: &str, id: &str, renamed: Option<&str>) {
        if self.names.len() >= LISTED {
            self.more_names += 1;
            return;
        }
        self.names.push(match renamed {
            Some(new) => format!("{name:?} (id {id:?}) is now {new:?}"),
            None => format!("{name:?} (id {id:?}) was left out with its messages; --rename takes it over under another name"),
        });
    }
}

fn tell(report: &ImportReport) {
    let row = |what: &str, tally: &Tally| {
        vec![what.to_owned(), tally.added.to_string(), tally.present.to_string(), tally.skipped.to_string()]
    };
    table(
        &["", "TAKEN OVER", "THERE ALREADY", "LEFT OUT"],
        &[
            row("users", &report.users),
            row("rooms", &report.rooms),
            row("members", &report.members),
            row("messages", &report.messages),
        ],
    );
    answer("all counts agree with the old database");
    if report.tokens_left > 0 {
        answer(format_args!(
            "{} tokens were not taken over, since the old secrets and rights are not trusted; make new ones with `chatsphere \
             token create`",
            report.tokens_left
        ));
    }
}
