//! Servers for tests: the real router, the real store in a temporary directory, and a clock that the test controls.
//!
//! [`Backend`] is the part behind every front door. A test of another front door adds its own router with
//! [`TestServer::serve`].

// Each test program uses a part of this.
#![allow(dead_code, unused_imports)]
// Helpers may panic like tests; clippy recognizes only tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answer;
mod contract;
mod frames;
mod routes;
mod server;
mod world;

pub(crate) use answer::Answer;
pub(crate) use frames::{client_frame, hold_client_frame, hold_server_frame, server_frame};
pub(crate) use routes::{Actor, ROUTES, Route, Target};
pub(crate) use server::{Backend, Call, Setup, TestServer, secret, start};
pub(crate) use world::{Person, World};
