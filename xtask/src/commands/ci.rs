//! `cargo xtask ci`: everything that must pass before a change lands.

use std::time::Instant;

use super::{codegen, lint, test};
use crate::error::Result;
use crate::interrupt::Interrupts;
use crate::say;

type Part = fn(&Interrupts) -> Result;

/// The quick parts come first, because the first failure ends the run.
const PARTS: [(&str, Part); 3] = [
    ("lint", lint::run),
    ("codegen --check", |interrupts| codegen::run(true, interrupts)),
    ("test", |interrupts| test::run(&[], interrupts)),
];

/// Runs all parts, with a heading and the duration of each.
pub(crate) fn run(interrupts: &Interrupts) -> Result {
    let all = Instant::now();
    for (name, part) in PARTS {
        say::heading(name);
        let start = Instant::now();
        let result = part(interrupts);
        let outcome = if result.is_ok() { "passed" } else { "FAILED" };
        say::step(&format!("{name}: {outcome} after {}", say::took(start.elapsed())));
        result?;
    }
    say::heading(&format!("all passed in {}", say::took(all.elapsed())));
    Ok(())
}
