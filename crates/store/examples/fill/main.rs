//! Fills a database with rooms and messages faster than any client could, for measurements of large ones:
//!
//! ```text
//! cargo run --profile dist -p chatsphere-store --example fill -- <database URL> \
//!     [--messages 1000,100000,10000000] [--rooms 1000000] [--bytes 100] [--rooms-file rooms.json]
//! ```
//!
//! Start and stop a server on the database before, so that its tables exist. No server may run on it meanwhile. All rooms
//! belong to one new user. The program creates a room for each number of `--messages`, then empty ones until the database has
//! `--rooms` rooms. `--rooms-file` is what `chatsphere-bench growth --rooms-file` takes. Rows are written in bulk and without
//! waiting for the disk, but like those of the store: numbers without a gap, and correct counters. Never use it on data that
//! matters.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for measurements, not a part of the program")]

mod postgres;
mod sqlite;

use std::path::PathBuf;

use chatsphere_core::{Clock, RoomId, SystemClock, Timestamp, UserId};

/// The rows to write.
struct Plan {
    user: UserId,
    at: Timestamp,
    bytes: usize,
    /// Rooms with their numbers of messages.
    full: Vec<(RoomId, u64)>,
    /// The number of rooms that the database is to have.
    rooms: u64,
}

impl Plan {
    fn content(&self) -> String {
        "x".repeat(self.bytes)
    }

    fn username(&self) -> String {
        format!("fill-{}", self.user)
    }
}

#[tokio::main]
async fn main() {
    let (mut url, mut rooms_file) = (None, None);
    let (mut messages, mut rooms, mut bytes) = (Vec::new(), 0, 100);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage(&format!("{argument} needs a value")));
        match argument.as_str() {
            "--messages" => messages = value().split(',').map(number).collect(),
            "--rooms" => rooms = number(&value()),
            "--bytes" => bytes = usize::try_from(number(&value())).unwrap(),
            "--rooms-file" => rooms_file = Some(PathBuf::from(value())),
            _ if url.is_none() && !argument.starts_with('-') => url = Some(argument),
            _ => usage(&format!("{argument} is not known")),
        }
    }
    let url = url.unwrap_or_else(|| usage("the database URL is missing"));
    let at = SystemClock.now();
    let full = messages.into_iter().map(|count| (RoomId::new(at), count)).collect();
    let plan = Plan { user: UserId::new(at), at, bytes, full, rooms };
    let there = match url.strip_prefix("sqlite:") {
        Some(path) => sqlite::fill(path.strip_prefix("//").unwrap_or(path), &plan),
        None => postgres::fill(&url, &plan).await,
    };
    println!("{} rooms with messages, {there} rooms altogether", plan.full.len());
    if let Some(path) = rooms_file {
        let rooms: Vec<_> =
            plan.full.iter().map(|(id, count)| serde_json::json!({ "roomId": id.to_string(), "messages": count })).collect();
        let file = serde_json::json!({ "userId": plan.user.to_string(), "roomsInDatabase": there, "rooms": rooms });
        std::fs::write(path, file.to_string()).unwrap();
    }
}

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap_or_else(|_| usage(&format!("{text:?} is no number")))
}

fn usage(wrong: &str) -> ! {
    println!("{wrong}\nfill <database URL> [--messages N,N…] [--rooms N] [--bytes N] [--rooms-file FILE]");
    std::process::exit(2)
}
