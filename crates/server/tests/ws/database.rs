//! A database for one test.

use std::env;
use std::sync::Arc;

use chatsphere_store::DatabaseUrl;
use tempfile::TempDir;

/// A database and a directory, which are removed after the test.
pub(crate) struct Database {
    pub(crate) url: DatabaseUrl,
    /// The URL with its password.
    pub(crate) text: String,
    pub(crate) directory: TempDir,
}

impl Database {
    /// Runs statements that bypass the server.
    pub(crate) async fn execute(&self, sql: &str) {
        match self.url.sqlite_path() {
            Some(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            None => administer(&self.text, sql).await,
        }
    }
}

pub(crate) async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Database>) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("sqlite:{}", directory.path().join("chat.db").display());
    test(Arc::new(Database { url: text.parse().unwrap(), text, directory })).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Database>) -> F) {
    let Ok(server) = env::var("CHATSPHERE_TEST_POSTGRES") else {
        let why = "CHATSPHERE_TEST_POSTGRES names no PostgreSQL server";
        assert!(env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
        println!("left out: {why}");
        return;
    };
    let name = format!("chatsphere_ws_{:016x}", rand::random::<u64>());
    administer(&server, &format!("CREATE DATABASE {name}")).await;
    let (base, _) = server.rsplit_once('/').unwrap();
    let text = format!("{base}/{name}");
    let directory = tempfile::tempdir().unwrap();
    let outcome = tokio::spawn(test(Arc::new(Database { url: text.parse().unwrap(), text, directory }))).await;
    administer(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub(crate) async fn administer(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}
