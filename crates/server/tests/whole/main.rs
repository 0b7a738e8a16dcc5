//! Whole servers as processes of their own, with the programs around them that they meet in life: a browser, a client of
//! another make, PostgreSQL, NATS. What a test needs and does not find it says it left out, or fails if nothing may be.

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
