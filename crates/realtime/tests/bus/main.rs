//! The bus over a real NATS server: credentials, TLS, and attacks. `cargo xtask test` names the server program; without it
//! these tests print a note and pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "a test program tells what it leaves out")]

mod attacks;
mod credentials;
mod disconnects;
mod interest;
mod nats;
mod node;
mod tls;
