//! `cargo xtask bench`: reproduces the project's figures on this machine.

mod plan;
mod stand;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::cargo;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts, typed};
use crate::needs::{Needs, Wanted};
use crate::{paths, say};
use plan::{Scale, Step, steps};
use stand::Stand;
use table::{Measured, markdown};

/// The options of a benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Small parameters: to check that everything runs, not to measure
    #[arg(long)]
    quick: bool,
    /// Include a room of ten million messages
    #[arg(long, conflicts_with = "quick")]
    large: bool,
    /// Also measure on a PostgreSQL server started for this
    #[arg(long)]
    postgres: bool,
    /// Only measurements with these comma-separated name prefixes
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The unoptimised build: to try out the command
    #[arg(long)]
    dev: bool,
}

/// The programs involved.
struct Programs {
    server: PathBuf,
    bench: PathBuf,
    fill: PathBuf,
}

/// Measures everything on each database, and writes `target/bench/<database>.json` and `.md`, with plots beside them.
pub(crate) fn run(args: &Args, interrupts: &Interrupts) -> Result {
    let programs = build(args.dev, interrupts)?;
    let output = paths::target()?.join("bench");
    std::fs::create_dir_all(&output).map_err(TaskError::at("making", &output))?;
    let scale = match (args.quick, args.large) {
        (true, _) => Scale::Quick,
        (_, true) => Scale::Large,
        _ => Scale::Full,
    };
    let wanted = |step: &Step| args.only.is_empty() || args.only.iter().any(|start| step.name.starts_with(start.as_str()));
    let steps: Vec<Step> = steps(scale).into_iter().filter(wanted).collect();
    if steps.is_empty() {
        return Err(TaskError::failed("no measurement has such a name"));
    }
    let mut failed = measure(&Bench { programs: &programs, output: &output, interrupts, needs: None }, "sqlite", &steps)?;
    if args.postgres {
        let needs = Needs::meet(Wanted::PostgresOnly, interrupts)?;
        let bench = Bench { programs: &programs, output: &output, interrupts, needs: Some(&needs) };
        failed.extend(measure(&bench, "postgresql", &steps)?);
    }
    say::step(&format!("the reports are in {}", output.display()));
    if failed.is_empty() { Ok(()) } else { Err(TaskError::failed(format!("these failed: {}", failed.join(", ")))) }
}

fn build(dev: bool, interrupts: &Interrupts) -> Result<Programs> {
    let mut command = cargo()?;
    command.args([
        "build",
        "-p",
        "chatsphere",
        "-p",
        "chatsphere-bench",
        "-p",
        "chatsphere-store",
        "--bins",
        "--example",
        "fill",
    ]);
    if !dev {
        command.args(["--profile", "dist"]);
    }
    say::step(&typed(&command));
    interrupts.run(&mut command, Group::Shared)?;
    let built = paths::target()?.join(if dev { "debug" } else { "dist" });
    Ok(Programs {
        server: built.join("chatsphere"),
        bench: built.join("chatsphere-bench"),
        fill: built.join("examples").join("fill"),
    })
}

/// The state shared by all steps on one database.
struct Bench<'a> {
    programs: &'a Programs,
    output: &'a Path,
    interrupts: &'a Interrupts,
    /// The test services with PostgreSQL, if that is measured.
    needs: Option<&'a Needs>,
}

/// Runs all steps and writes the reports; returns the names of failed steps.
fn measure(bench: &Bench<'_>, database: &str, steps: &[Step]) -> Result<Vec<String>> {
    say::heading(database);
    let (mut all, mut failed): (Vec<Measured>, Vec<String>) = (Vec::new(), Vec::new());
    let mut stand: Option<Stand> = None;
    let mut filled_before = false;
    for step in steps {
        let goes_on = step.goes_on && filled_before;
        filled_before = step.fill.is_some();
        let on = match stand.take().filter(|_| goes_on) {
            Some(stand) => stand,
            None => Stand::new(bench.new_database(step)?)?,
        };
        let earlier = all.last().filter(|_| goes_on).map(|measured| measured.name);
        let (measured, passed) = bench.step(&on, database, step, earlier)?;
        if !passed {
            failed.push(format!("{} on {database}", step.name));
        }
        all.extend(measured);
        stand = Some(on);
        // Rewritten after each step, so that an interrupted run leaves partial results.
        let json: Vec<_> = all.iter().map(Measured::json).collect();
        write(&bench.output.join(format!("{database}.json")), &format!("{:#}\n", serde_json::Value::from(json)))?;
        write(&bench.output.join(format!("{database}.md")), &markdown(database, &all))?;
    }
    Ok(failed)
}

impl Bench<'_> {
    /// The address of a new PostgreSQL database, if that is measured.
    fn new_database(&self, step: &Step) -> Result<Option<String>> {
        let Some(needs) = self.needs else { return Ok(None) };
        needs.postgres().create_database(&format!("bench_{}", step.name.replace('-', "_")), self.interrupts).map(Some)
    }

    /// Runs one step; returns the report, and whether it found no fault.
    fn step(&self, stand: &Stand, database: &str, step: &Step, earlier: Option<&str>) -> Result<(Option<Measured>, bool)> {
        let rooms = stand.directory().join("rooms.json");
        if let Some(fill) = step.fill {
            // The server creates the tables.
            stand.start(&self.programs.server, self.interrupts)?.stop();
            let mut command = Command::new(&self.programs.fill);
            command.arg(stand.database_url()).args(fill.split(' ')).arg("--rooms-file").arg(&rooms);
            say::step(&format!("fill {fill}"));
            self.interrupts.run(&mut command, Group::Own)?;
        }
        let server = stand.start(&self.programs.server, self.interrupts)?;
        let report = self.file(database, step.name);
        let mut command = Command::new(&self.programs.bench);
        command.args(step.arguments.split(' ')).args(["--url", &server.url, "--token-file"]).arg(stand.token_file());
        command.args(["--server-pid", &server.pid().to_string()]);
        if let Some(needs) = self.needs {
            command.args(["--server-pid", &needs.postgres().pid().to_string()]);
        }
        if step.fill.is_some() {
            command.arg("--rooms-file").arg(&rooms);
        }
        if let Some(earlier) = earlier {
            command.arg("--compare").arg(self.file(database, earlier));
        }
        command.arg("--json").arg("--plot").arg(report.with_extension("svg"));
        command.stdin(Stdio::null()).stdout(File::create(&report).map_err(TaskError::at("making", &report))?);
        say::step(step.arguments);
        let status = self.interrupts.status(&mut command, Group::Shared)?;
        server.stop();
        let text = std::fs::read_to_string(&report).map_err(TaskError::at("reading", &report))?;
        // A failed run has printed its error and has no report.
        let report = serde_json::from_str(&text).ok();
        let measured = report.map(|report| Measured { name: step.name, arguments: step.arguments.to_owned(), report });
        Ok((measured, status.success()))
    }

    fn file(&self, database: &str, name: &str) -> PathBuf {
        self.output.join(format!("{database}-{name}.json"))
    }
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(TaskError::at("writing", path))
}
