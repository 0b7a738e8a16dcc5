//! Tests with a PostgreSQL server that does not accept writes for a while: a standby behind the address, a switch to read-only,
//! revoked rights.

use std::time::{Duration, Instant};

use chatsphere_core::{Access, Error, RoomId, Unavailable};
use chatsphere_store::{OpenError, inspect, migrate, renew_epoch};

use crate::fixture::Fixture;
use crate::postgres_server::{PostgresServer, Stop};
use crate::switch::Switch;
use crate::world::{World, new_message};

/// The longest time until a change is noticed.
const BOUND: Duration = Duration::from_secs(60);
const AWAY: Error = Error::Unavailable(Unavailable::StoreAway);

/// Runs statements as a superuser whose own session is not read-only.
async fn execute(url: &str, statements: &[&str]) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for statement in [&["SET default_transaction_read_only = off"], statements].concat() {
        client.batch_execute(statement).await.unwrap();
    }
}

impl World {
    /// Writes until a write is rejected, and checks the error.
    async fn write_until_away(&self, room: RoomId) {
        let begun = Instant::now();
        loop {
            match self.node.store.submit(new_message(room, self.ada.id, "refused")).await {
                Ok(_) => assert!(begun.elapsed() < BOUND, "it is still written"),
                Err(error) => return assert_eq!(error, AWAY),
            }
        }
    }

    /// Pings the store until it is available, without a write; then writes.
    async fn write_when_back(&self, room: RoomId) {
        let begun = Instant::now();
        while let Err(error) = self.node.store.ping().await {
            assert_eq!(error, AWAY);
            assert!(begun.elapsed() < BOUND, "it does not come back");
        }
        self.post(room, "taken again").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_behind_the_address_is_away_until_it_is_promoted_or_the_primary_is_back() {
    let Some(mut primary) = PostgresServer::start().await else { return };
    let switch = Switch::to(primary.port()).await;
    let world = World::new(&Fixture::on(switch.url().parse().unwrap())).await;
    let room = world.room().await.id;
    world.post(room, "before").await;
    let standby = primary.start_standby().await;

    // No node starts on a standby, with or without tables.
    let url = standby.url().parse().unwrap();
    for refused in [
        Fixture::on(standby.url().parse().unwrap()).node_with(|_| {}).await.err(),
        migrate(&url).await.err(),
        renew_epoch(&url).await.err(),
        inspect(&url, None).await.err(),
    ] {
        assert!(matches!(refused, Some(OpenError::ReadOnly { .. })), "{refused:?}");
        let told = refused.unwrap().to_string();
        assert!(told.contains("standby") && told.contains("target_session_attrs=read-write"), "{told}");
    }

    switch.turn(standby.port());
    world.write_until_away(room).await;
    assert_eq!(world.node.store.ping().await, Err(AWAY));
    // The standby's data may be older than what was acknowledged.
    assert_eq!(world.node.store.room(room, Access::Any).await.unwrap_err(), AWAY);

    switch.turn(primary.port());
    world.write_when_back(room).await;

    // The standby must have all data before it is promoted.
    let (client, connection) = tokio_postgres::connect(&primary.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let begun = Instant::now();
    let replayed = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_flush_lsn()";
    while client.query_one(replayed, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(begun.elapsed() < BOUND, "the standby does not follow");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    switch.turn(standby.port());
    world.write_until_away(room).await;
    primary.stop(Stop::Immediate);
    standby.promote().await;
    world.write_when_back(room).await;
    assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().message_count, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_servers_the_writable_one_is_used() {
    let Some(mut primary) = PostgresServer::start().await else { return };
    let standby = primary.start_standby().await;
    // Nothing listens on the first, and the second is a standby.
    let (a, b) = (standby.port(), primary.port());
    for query in ["?target_session_attrs=read-write", "", "?target_session_attrs=primary"] {
        let url = format!("postgresql://postgres@127.0.0.1:1,127.0.0.1:{a},127.0.0.1:{b}/postgres{query}");
        migrate(&url.parse().unwrap()).await.unwrap();
    }
    let none = format!("postgresql://postgres@127.0.0.1:{a},127.0.0.1:1/postgres?target_session_attrs=read-write");
    assert!(matches!(migrate(&none.parse().unwrap()).await, Err(OpenError::ReadOnly { .. })));

    let url = format!("postgresql://postgres@127.0.0.1:{a},127.0.0.1:{b}/postgres?target_session_attrs=read-write");
    let world = World::new(&Fixture::on(url.parse().unwrap())).await;
    let room = world.room().await.id;
    primary.stop(Stop::Fast);
    standby.promote().await;
    world.write_when_back(room).await;
    assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().message_count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_or_database_that_is_made_read_only_is_away_until_it_is_not() {
    let Some(server) = PostgresServer::start().await else { return };
    let url = server.url();
    let world = World::new(&Fixture::on(url.parse().unwrap())).await;
    let room = world.room().await.id;
    let cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chatsphere'";
    let reload = "SELECT pg_reload_conf()";
    for (on, off) in [
        // This applies to existing sessions.
        (
            ["ALTER SYSTEM SET default_transaction_read_only = on", reload],
            ["ALTER SYSTEM RESET default_transaction_read_only", reload],
        ),
        // This applies only to new ones.
        (
            ["ALTER DATABASE postgres SET default_transaction_read_only = on", cut_off],
            ["ALTER DATABASE postgres RESET default_transaction_read_only", cut_off],
        ),
        (
            ["ALTER ROLE postgres SET default_transaction_read_only = on", cut_off],
            ["ALTER ROLE postgres RESET default_transaction_read_only", reload],
        ),
    ] {
        execute(&url, &on).await;
        world.write_until_away(room).await;
        assert_eq!(world.node.store.ping().await, Err(AWAY), "{on:?}");
        // The server is still the primary, so its data is current.
        world.node.store.room(room, Access::Any).await.unwrap();
        let refused = migrate(&url.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused:?}");
        assert!(refused.to_string().contains("default_transaction_read_only"), "{refused}");
        execute(&url, &off).await;
        world.write_when_back(room).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revoked_and_restored_rights_are_an_outage() {
    let Some(server) = PostgresServer::start().await else { return };
    execute(&server.url(), &["CREATE ROLE chat LOGIN", "CREATE DATABASE chat OWNER chat"]).await;
    let owner = server.url().replace("/postgres", "/chat");
    let url = owner.replace("postgres@", "chat@");
    let world = World::new(&Fixture::on(url.parse().unwrap())).await;
    let room = world.room().await.id;
    execute(&owner, &["REVOKE INSERT ON messages FROM chat"]).await;
    // This is noticed without a write, too.
    assert_eq!(world.node.store.ping().await, Err(AWAY));
    world.write_until_away(room).await;
    execute(&owner, &["GRANT INSERT ON messages TO chat"]).await;
    world.write_when_back(room).await;
}
