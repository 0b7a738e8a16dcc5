//! The programs that these tests need beyond the server. Without them a test prints that it is skipped, or fails if all tests
//! must run.

use std::env;

/// Programs that the tests drive.
pub struct Needs {
    pub chromium: String,
    pub node: String,
    pub python: String,
    e2e: String,
}

impl Needs {
    /// Returns the path of an end-to-end script.
    pub fn e2e(&self, file: &str) -> String {
        format!("{}/{file}", self.e2e)
    }
}

fn left_out(why: &str) {
    assert!(env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
    println!("left out: {why}; `cargo xtask test` runs it");
}

pub fn browser_and_python() -> Option<Needs> {
    let needs = || {
        Some(Needs {
            chromium: env::var("CHATSPHERE_TEST_CHROMIUM").ok()?,
            node: env::var("CHATSPHERE_TEST_NODE").ok()?,
            python: env::var("CHATSPHERE_TEST_PYTHON").ok()?,
            e2e: env::var("CHATSPHERE_TEST_E2E").ok()?,
        })
    };
    let needs = needs();
    if needs.is_none() {
        left_out("no Chromium, Node.js and Python were named");
    }
    needs
}

/// Returns the path of the program `nats-server`.
pub fn nats_server() -> Option<String> {
    let program = env::var("CHATSPHERE_TEST_NATS_SERVER").ok();
    if program.is_none() {
        left_out("CHATSPHERE_TEST_NATS_SERVER names no nats-server");
    }
    program
}

/// A database for one test.
pub struct Database {
    pub url: String,
    server: String,
    name: String,
}

/// Creates an empty database on the tests' PostgreSQL server.
pub async fn postgres_database() -> Option<Database> {
    let Ok(server) = env::var("CHATSPHERE_TEST_POSTGRES") else {
        left_out("CHATSPHERE_TEST_POSTGRES names no PostgreSQL server");
        return None;
    };
    let name = format!("whole_{:016x}", rand::random::<u64>());
    execute(&server, &format!("CREATE DATABASE {name}")).await;
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(Database { url: format!("{base}/{name}"), server, name })
}

impl Database {
    /// Runs statements on the database.
    pub async fn execute(&self, statements: &str) {
        execute(&self.url, statements).await;
    }

    /// Removes the database, also if clients are still connected.
    pub async fn drop(self) {
        execute(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn execute(server: &str, statement: &str) {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
}
