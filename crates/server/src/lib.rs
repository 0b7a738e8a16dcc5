//! The composition root of ChatSphere: configuration, the command line, the HTTP and WebSocket front doors, and the
//! lifecycle that holds them together.

pub mod auth;
pub mod config;
pub mod data_dir;
pub mod http;
pub mod log;
pub mod secrets;
pub mod listener;
pub mod observability;
