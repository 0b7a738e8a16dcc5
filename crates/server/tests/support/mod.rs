//! Servers for tests: the real router, the real store in a temporary directory, and a clock that the test controls.
//!
//! [`Backend`] is what stands behind every front door; a test of another front door puts its own router upon one with
//! [`TestServer::serve`].

// Each test binary uses a part of this.
#![allow(dead_code, unused_imports)]
// Helpers of tests fail like tests; clippy knows only the tests themselves.
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
