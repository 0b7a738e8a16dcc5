//! The accept loop as clients meet it: real sockets on loopback, short time-outs, generous upper bounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod capacity;
mod clients;
mod drain;
mod framing;
mod peers;
mod pre_upgrade;
mod requests;
mod support;
mod timeouts;
mod tls;
mod unread;
mod upgrade;
