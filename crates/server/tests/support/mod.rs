//! Servers for tests: the real router, the real store in a directory of its own, a clock that the test moves.
//!
//! [`Backend`] is what stands behind every front door; a test of another front door puts its own router upon one with
//! [`TestServer::serve`].

// Each test binary uses a part of this.
#![allow(dead_code, unused_imports)]

mod answer;
mod routes;
mod server;
mod world;

pub use answer::Answer;
pub use routes::{Actor, ROUTES, Route, Target};
pub use server::{Backend, Call, Setup, TestServer, secret, start};
pub use world::{Person, World};
