//! A database for one test, and nodes on it.

use std::future::Future;
use std::sync::{Arc, Condvar, Mutex};

use chatsphere_core::store::Receipt;
use chatsphere_core::{CommitSink, Committed, Error, Event, Store};
use chatsphere_store::{ClientIdKey, DatabaseUrl, Fingerprint, KeyFingerprints, OpenError, OpenOptions};
use rusqlite::types::ValueRef;
use tempfile::TempDir;
use tokio::runtime::RuntimeFlavor;

/// A database that is removed after the test.
pub(crate) struct Fixture {
    pub(crate) url: DatabaseUrl,
    _dir: Option<TempDir>,
}

pub(crate) async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Fixture>) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::sqlite(dir.path().join("chat.db"));
    test(Arc::new(Fixture { url, _dir: Some(dir) })).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Fixture>) -> F) {
    let Some(server) = postgres_server() else { return };
    let database = format!("chatsphere_{:016x}", rand::random::<u64>());
    administer(&server, &format!("CREATE DATABASE {database}")).await;
    let url = with_database(&server, &database).parse().unwrap();
    let outcome = tokio::spawn(test(Arc::new(Fixture { url, _dir: None }))).await;
    administer(&server, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Returns a superuser's URL, or `None` if this machine has no server for tests.
pub(crate) fn postgres_server() -> Option<String> {
    let server = std::env::var("CHATSPHERE_TEST_POSTGRES").ok();
    if server.is_none() {
        left_out("CHATSPHERE_TEST_POSTGRES names no PostgreSQL server");
    }
    server
}

/// Prints that a test is skipped. Fails if all tests must run.
pub(crate) fn left_out(why: &str) {
    assert!(std::env::var_os("CHATSPHERE_TEST_ALL").is_none(), "{why}");
    println!("left out: {why}");
}

pub(crate) fn with_database(server: &str, database: &str) -> String {
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{database}")
}

/// Runs a statement on a connection of its own.
pub(crate) async fn administer(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

pub(crate) fn keys() -> KeyFingerprints {
    KeyFingerprints {
        user: Fingerprint::new("user key"),
        user_previous: None,
        client: Fingerprint::new("client key"),
        client_previous: None,
        content: Some(Fingerprint::new("content key")),
        content_is_generated: false,
    }
}

impl Fixture {
    /// Makes a fixture of a database that the caller removes.
    pub(crate) fn on(url: DatabaseUrl) -> Self {
        Self { url, _dir: None }
    }

    /// Starts another node on the database.
    pub(crate) async fn node(&self) -> Node {
        self.node_with(|_| {}).await.unwrap()
    }

    pub(crate) async fn node_with(&self, change: impl FnOnce(&mut OpenOptions)) -> Result<Node, OpenError> {
        let sink = Arc::new(Recorder::default());
        let mut options = OpenOptions::new(self.url.clone(), keys(), Arc::clone(&sink) as Arc<dyn CommitSink>);
        options.client_id_key = Some(ClientIdKey::new(b"content key"));
        change(&mut options);
        Ok(Node { store: chatsphere_store::open(options).await?, sink })
    }

    /// Runs a statement that bypasses the store.
    pub(crate) async fn execute(&self, sql: &str) {
        match self.url.sqlite_path() {
            Some(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            None => administer(&self.postgres_url(), sql).await,
        }
    }

    /// Connects to the PostgreSQL database as a client of the test.
    pub(crate) async fn connected(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.postgres_url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Asserts what a statement behind the store's back counts.
    pub(crate) async fn expect(&self, count: &str, expected: i64) {
        let found: i64 = match self.url.sqlite_path() {
            Some(path) => rusqlite::Connection::open(path).unwrap().query_row(count, (), |row| row.get(0)).unwrap(),
            None => self.connected().await.query_one(count, &[]).await.unwrap().get(0),
        };
        assert_eq!(found, expected, "{count}");
    }

    /// Asserts whether any row of any table has a text, also in what PostgreSQL's statistics keep of it.
    pub(crate) async fn expect_in_tables(&self, text: &str, expected: bool) {
        let mut found = Vec::new();
        match self.url.sqlite_path() {
            Some(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
                let tables: Vec<String> = tables.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
                for table in tables {
                    let mut rows = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
                    let columns = rows.column_count();
                    let mut rows = rows.query(()).unwrap();
                    while let Some(row) = rows.next().unwrap() {
                        let has = |column| match row.get_ref(column).unwrap() {
                            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                                bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes())
                            }
                            _ => false,
                        };
                        found.extend((0..columns).any(has).then(|| table.clone()));
                    }
                }
            }
            None => {
                let client = self.connected().await;
                client.batch_execute("ANALYZE").await.unwrap();
                let tables = "SELECT quote_ident(relname) FROM pg_class
                    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
                let mut tables: Vec<String> = client.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
                tables.push("pg_stats".to_owned());
                for table in tables {
                    let sql = format!("SELECT count(*) FROM {table} AS it WHERE it::text LIKE '%{text}%'");
                    let count: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
                    found.extend((count > 0).then_some(table));
                }
            }
        }
        assert_eq!(!found.is_empty(), expected, "{text} in {found:?}");
    }

    /// Where a PostgreSQL client of the test's own finds the database.
    pub(crate) fn postgres_url(&self) -> String {
        let server = postgres_server().unwrap();
        let database = self.url.to_string();
        let (_, database) = database.rsplit_once('/').unwrap();
        with_database(&server, database)
    }
}

/// A store, and the sink that records its commits.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sink: Arc<Recorder>,
}

/// The channel to which a test's acknowledgements go.
pub(crate) type ToldTo = tokio::sync::mpsc::UnboundedSender<Result<Receipt, Error>>;

/// A sink that records commits. It can block the writer, so that writes share a batch.
#[derive(Default)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batches: Vec<Vec<Arc<Event>>>,
    hold: bool,
    held: bool,
}

impl CommitSink for Recorder {
    fn committed(&self, batch: Committed) {
        let mut state = self.state.lock().unwrap();
        state.batches.push(batch.events);
        for ack in batch.acks {
            ack.to.read::<ToldTo>().unwrap().send(ack.outcome).unwrap();
        }
        state.held = state.hold;
        self.changed.notify_all();
        if !state.hold {
            return;
        }
        let wait = move || drop(self.changed.wait_while(state, |state| state.hold).unwrap());
        // PostgreSQL's writer is a task of the runtime, which a real sink never blocks.
        match tokio::runtime::Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }
}

impl Recorder {
    /// Blocks the next commit in the sink until [`Recorder::release`].
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().hold = true;
    }

    /// Waits until a commit is blocked.
    pub(crate) fn wait_until_held(&self) {
        let state = self.state.lock().unwrap();
        tokio::task::block_in_place(|| drop(self.changed.wait_while(state, |state| !state.held).unwrap()));
    }

    pub(crate) fn release(&self) {
        let mut state = self.state.lock().unwrap();
        state.hold = false;
        state.held = false;
        self.changed.notify_all();
    }

    pub(crate) fn batches(&self) -> Vec<Vec<Arc<Event>>> {
        self.state.lock().unwrap().batches.clone()
    }

    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        self.batches().into_iter().flatten().collect()
    }
}
