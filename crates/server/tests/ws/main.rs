//! Tests of the WebSocket front door with real sockets and a whole server. Each test runs on SQLite in a temporary directory,
//! and on PostgreSQL in a database of its own if `CHATSPHERE_TEST_POSTGRES` names a server (`cargo xtask with-services -- cargo
//! test`).

// Helpers may panic and print like tests; clippy recognizes only tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../whole/nats.rs"]
#[allow(dead_code, reason = "each test binary uses a part of this")]
mod nats;

mod auth;
mod bad_input;
mod client;
mod codec;
mod crash;
mod database;
mod delete;
mod drain;
mod edit;
mod handshake;
mod heartbeat;
mod join;
mod membership;
mod message;
mod model;
mod newer;
mod pin;
mod raw;
mod revocation;
mod rooms;
mod schema;
mod seam;
mod security;
mod server;
mod signal;
mod slow;
mod stale;
mod tls;
mod typing;
mod unknown;

/// Makes a test on every database of each function.
macro_rules! on_every_database {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    $crate::database::on_sqlite(super::$name).await;
                }
            )+
        }
        mod postgres {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    $crate::database::on_postgres(super::$name).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_database;
