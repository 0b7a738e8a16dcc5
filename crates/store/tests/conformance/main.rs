//! Tests of the behaviour of every adapter. Each test runs on SQLite in a temporary directory, and on PostgreSQL in a database
//! of its own if `CHATSPHERE_TEST_POSTGRES` names a server (`cargo xtask with-services -- cargo test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod appends;
mod around;
mod deletes;
mod edits;
mod erasure;
mod fixture;
mod idempotency;
mod import;
mod inspect;
mod keys;
mod members;
mod model;
mod newer;
mod nodes;
mod order;
mod outages;
mod pages;
mod pins;
mod postgres_server;
mod read_only;
mod removals;
mod rights;
mod rooms;
mod schema;
mod space;
mod switch;
mod tls;
mod tokens;
mod upgrade;
mod users;
mod world;

/// Makes a test on every database of each function.
macro_rules! on_every_database {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    $crate::fixture::on_sqlite(super::$name).await;
                }
            )+
        }
        mod postgres {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    $crate::fixture::on_postgres(super::$name).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_database;
