//! The listener from a client's point of view: real sockets on loopback, short timeouts, generous upper bounds.

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
