//! Tests of whole servers as separate processes, with the programs around them: a browser, a third-party client, PostgreSQL,
//! NATS. If a test lacks a program, it prints that it is skipped, or fails if all tests must run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, unreachable_pub, reason = "a test program has no outside, and tells what it leaves out")]

mod bus;
mod cluster;
mod driver;
mod import;
mod nats;
mod needs;
mod observed;
mod read_only;
mod server;
mod standstill;
mod walkthrough;
