//! The composition root of ChatSphere: configuration, command line, HTTP and WebSocket front doors, and lifecycle.

pub mod admin;
pub mod auth;
pub mod banner;
mod bootstrap;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod doctor;
pub mod http;
mod installation;
mod lifecycle;
pub mod lock;
pub mod log;
pub mod observability;
mod own_file;
mod ownership;
mod partial;
pub mod request;
pub mod secrets;
pub mod serve;
pub mod start_error;
mod wire;
pub mod ws;
