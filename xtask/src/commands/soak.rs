//! `cargo xtask soak`: repeats `chatsphere-verify` with new seeds until the time is over.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cargo::cargo;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts, typed};
use crate::needs::{Needs, Wanted};
use crate::say;

/// The parameters of one round. A round of several minutes would delay the first violation.
const ROUND: [&str; 8] = ["--operations", "20000", "--kills", "20", "--stalls", "2", "--clients", "16"];

/// Soaks the server alternately on SQLite and PostgreSQL until the time is over. Stops at the first violation.
pub(crate) fn run(minutes: u64, seed: Option<u64>, interrupts: &Interrupts) -> Result {
    let programs = build(interrupts)?;
    let needs = Needs::meet(Wanted::PostgresOnly, interrupts)?;
    let mut seed = seed.unwrap_or_else(fresh_seed);
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        for postgres in [false, true] {
            rounds += 1;
            round(&programs, rounds, seed, postgres.then_some(&needs), interrupts)?;
        }
        seed = next_seed(seed);
    }
    say::step(&format!("{rounds} rounds, no violation"));
    Ok(())
}

/// Builds the programs; returns their directory.
fn build(interrupts: &Interrupts) -> Result<PathBuf> {
    interrupts
        .run(cargo()?.args(["build", "--profile", "dist", "-p", "chatsphere", "-p", "chatsphere-verify"]), Group::Shared)?;
    let exe = std::env::current_exe().map_err(TaskError::io("finding the target directory"))?;
    let target = exe.ancestors().nth(2).ok_or_else(|| TaskError::failed("the target directory was not found"))?;
    Ok(target.join("dist"))
}

fn round(programs: &Path, number: u32, seed: u64, postgres: Option<&Needs>, interrupts: &Interrupts) -> Result {
    // Kept after a failed round, with the data and the server's log.
    let directory = tempfile::Builder::new()
        .prefix("chatsphere-soak-")
        .tempdir()
        .map_err(TaskError::io("making a temporary directory"))?
        .keep();
    let mut command = Command::new(programs.join("chatsphere-verify"));
    command.args(ROUND).args(["--seed", &seed.to_string()]);
    command.arg("--server").arg(programs.join("chatsphere")).arg("--data-dir").arg(directory.join("data"));
    command.arg("--trace").arg(directory.join("trace"));
    let name = format!("soak_{number}");
    if let Some(needs) = postgres {
        command.args(["--database-url", &needs.make_database(&name, interrupts)?]);
        let [freeze, thaw] = needs.freeze_and_thaw();
        command.args(["--stop-database", &freeze, "--start-database", &thaw]);
    }
    let on = if postgres.is_some() { "PostgreSQL" } else { "SQLite" };
    say::heading(&format!("round {number} on {on}, seed {seed}"));
    say::step(&typed(&command));
    let done = interrupts.run(command.stdin(Stdio::null()), Group::Shared);
    if done.is_err() {
        say::warn(&format!("data, the server's log and the trace are in {}", directory.display()));
        if let Some(needs) = postgres {
            keep_database(needs, &name, &directory.join("database.sql"), interrupts);
        }
        return done;
    }
    if let Some(needs) = postgres {
        needs.drop_database(&name, interrupts)?;
    }
    std::fs::remove_dir_all(&directory).map_err(TaskError::at("removing", &directory))
}

/// Dumps the database to a file, because the PostgreSQL server is removed at exit.
fn keep_database(needs: &Needs, name: &str, file: &Path, interrupts: &Interrupts) {
    match needs.dump_database(name, file, interrupts) {
        Ok(()) => say::warn(&format!("the database is in {}", file.display())),
        Err(error) => say::warn(&format!("the database could not be kept: {error}")),
    }
}

/// A random number: the standard library seeds its hashers from the system.
fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The next seed of a reproducible sequence, so that `--seed` repeats a whole soak.
fn next_seed(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_follow_one_another_and_do_not_repeat() {
        let seeds: Vec<u64> = std::iter::successors(Some(7), |seed| Some(next_seed(*seed))).take(1_000).collect();
        let different: std::collections::HashSet<&u64> = seeds.iter().collect();
        assert_eq!(different.len(), seeds.len());
        assert_ne!(fresh_seed(), fresh_seed());
    }
}
