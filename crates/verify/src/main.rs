//! Runs random clients against a server that is killed repeatedly, and checks every guarantee against the observations.
//!
//! [`run`] acts and records; [`judge`] finds violations in the record alone.

mod figures;
mod frames;
mod judge;
mod progress;
mod run;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chatsphere_bench::error::RunError;
use chatsphere_bench::report::{self, Report};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use progress::Progress;
use run::director::Director;
use run::faults::{DatabaseCommands, Faults};
use run::plan::Plan;
use run::server::{Program, Server};
use run::stage::Stage;
use run::steps::Size;

/// Checks every guarantee while clients come and go and the server is killed.
///
/// With --server it starts a server, kills it and restarts it. With --url it uses a running server and kills nothing.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The server program, chatsphere.
    #[arg(long, value_name = "PATH", required_unless_present = "url", conflicts_with = "url")]
    server: Option<PathBuf>,
    /// The server's data directory. It is kept after the run.
    #[arg(long, value_name = "PATH", default_value = "chatsphere-verify-data")]
    data_dir: PathBuf,
    /// The server's database, such as postgresql://…; by default SQLite in the data directory.
    #[arg(long, value_name = "URL", requires = "server")]
    database_url: Option<String>,
    /// The address of a running server, with rate limits off.
    #[arg(long, value_name = "URL", requires = "token_file")]
    url: Option<String>,
    /// A file with a CLIENT token of that server.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Number of users.
    #[arg(long, default_value_t = 6)]
    users: usize,
    /// Number of clients; some share a user.
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// Number of rooms.
    #[arg(long, default_value_t = 4)]
    rooms: usize,
    /// Number of operations: send, join, leave, drop a connection, change members.
    #[arg(long, default_value_t = 5_000)]
    operations: usize,
    /// How often the server is killed.
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// Number of clients that stop reading until the server closes them.
    #[arg(long, default_value_t = 0)]
    stalls: usize,
    /// Let no client drop its connection.
    #[arg(long)]
    no_drops: bool,
    /// A shell command that stops the database.
    #[arg(long, value_name = "COMMAND", requires = "start_database")]
    stop_database: Option<String>,
    /// A shell command that starts it again.
    #[arg(long, value_name = "COMMAND", requires = "stop_database")]
    start_database: Option<String>,
    /// How often the database is stopped.
    #[arg(long, default_value_t = 2)]
    database_stops: usize,
    /// Seconds for the clients to finish at the end.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Write all observations to this file.
    #[arg(long, value_name = "PATH")]
    trace: Option<PathBuf>,
    /// Repeat the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    let runtime = tokio::runtime::Runtime::new().map_err(|source| RunError::Io { what: "starting", source });
    match runtime.and_then(|runtime| runtime.block_on(run(args))).and_then(|report| Ok((report.print(json)?, report))) {
        Ok(((), report)) if report.violations.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<Report, RunError> {
    let failed = |source| RunError::Io { what: "listening for signals", source };
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    // An interrupted run must not leave a server behind; dropping the run stops it.
    tokio::select! {
        report = verify(args) => report,
        _ = interrupted.recv() => Err(RunError::Unexpected("interrupted".to_owned())),
        _ = terminated.recv() => Err(RunError::Unexpected("told to end".to_owned())),
    }
}

async fn verify(args: Args) -> Result<Report, RunError> {
    if args.users == 0 || args.clients == 0 || args.rooms == 0 || args.operations == 0 {
        return Err(RunError::Usage("there must be users, clients, rooms and operations".to_owned()));
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    // Printed first, so that an interrupted run can be repeated too.
    report::note(&format!("seed {seed}"));
    let database = args.stop_database.clone().zip(args.start_database.clone());
    let size = Size {
        users: args.users,
        devices: args.clients,
        rooms: args.rooms,
        operations: args.operations,
        kills: if args.server.is_some() { args.kills } else { 0 },
        database_stops: if database.is_some() { args.database_stops } else { 0 },
        stalls: args.stalls,
        drops: !args.no_drops,
    };
    let (server, url, token_file) = target(&args).await?;
    let token = std::fs::read_to_string(&token_file).map_err(|source| RunError::TokenFile { path: token_file, source })?;
    let plan = Plan::new(seed, size);
    let stage = Stage::set(&url, &token, size, &plan).await?;
    let faults = Faults::new(server, database.map(|(stop, start)| DatabaseCommands { stop, start }));
    let mut director = Director { stage, faults, patience: Duration::from_secs(args.patience) };
    let began = Instant::now();
    let mut progress = Progress::new(size.operations);
    let record = director.run(plan, &mut progress).await?;
    drop(progress);
    if let Some(path) = &args.trace {
        trace::write(&record, path).map_err(|source| RunError::Io { what: "writing the trace", source })?;
    }
    let seconds = began.elapsed().as_secs_f64();

    let mut report = Report::new("verify");
    report.figure("seed", seed);
    report.figure("kills", director.faults.kills).figure("databaseStops", director.faults.database_stops);
    figures::add(&mut report, &record);
    report.figure("seconds", seconds);
    report.violations = std::mem::take(&mut director.faults.wrong);
    report.violations.extend(judge::judge(&record).told());
    Ok(report)
}

/// The server to check, started if the run kills it.
async fn target(args: &Args) -> Result<(Option<Server>, String, PathBuf), RunError> {
    let usage = || RunError::Usage("name the server's program with --server, or its address with --url".to_owned());
    let Some(path) = args.server.clone() else {
        let (url, token_file) = args.url.clone().zip(args.token_file.clone()).ok_or_else(usage)?;
        return Ok((None, url, token_file));
    };
    let (data_dir, database_url) = (args.data_dir.clone(), args.database_url.clone());
    let server = Server::start(Program { path, data_dir, database_url, small_queue: args.stalls > 0 }).await?;
    let url = server.url().to_owned();
    Ok((Some(server), url, args.data_dir.join("client-token")))
}
