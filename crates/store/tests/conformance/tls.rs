//! Tests of TLS to PostgreSQL: `sslmode` means what it means to `psql`.

use chatsphere_store::{OpenError, migrate};

use crate::fixture::{Fixture, administer};
use crate::postgres_server::PostgresServer;
use crate::world::World;

/// A certificate and its key in PEM.
struct Certificate {
    certificate: String,
    key: String,
}

/// Makes an authority, and a certificate by it for this host.
fn authority_and_server(name: &str) -> (Certificate, Certificate) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let pem = |certificate: &rcgen::Certificate, key: &rcgen::KeyPair| Certificate {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    };
    (pem(&authority, &authority_key), pem(&server, &key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_servers_certificate_is_verified_as_sslmode_says() {
    let (authority, certificate) = authority_and_server("localhost");
    let Some(server) = PostgresServer::start_with_tls(&certificate.certificate, &certificate.key).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let (right, wrong, broken) = (dir.path().join("right.pem"), dir.path().join("wrong.pem"), dir.path().join("broken.pem"));
    std::fs::write(&right, authority.certificate).unwrap();
    std::fs::write(&wrong, authority_and_server("localhost").0.certificate).unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").unwrap();
    let by_name = server.url().replace("127.0.0.1", "localhost");
    let by_address = server.url();
    let (right, wrong, broken) = (right.display(), wrong.display(), broken.display());
    for (base, query, works) in [
        (&by_name, "sslmode=disable".to_owned(), true),
        (&by_name, "sslmode=prefer".to_owned(), true),
        (&by_name, "sslmode=require".to_owned(), true),
        (&by_name, format!("sslmode=require&sslrootcert={right}"), true),
        (&by_name, format!("sslmode=require&sslrootcert={wrong}"), false),
        (&by_address, format!("sslmode=verify-ca&sslrootcert={right}"), true),
        (&by_address, format!("sslmode=verify-ca&sslrootcert={wrong}"), false),
        (&by_name, format!("sslmode=verify-full&sslrootcert={right}"), true),
        (&by_address, format!("sslmode=verify-full&sslrootcert={right}"), false),
        (&by_name, "sslmode=verify-full".to_owned(), false),
    ] {
        let result = migrate(&format!("{base}?{query}").parse().unwrap()).await;
        assert_eq!(result.is_ok(), works, "{query}: {result:?}");
        assert!(works || matches!(result, Err(OpenError::Unavailable { .. })), "{result:?}");
    }
    for absent_or_broken in [format!("{broken}"), format!("{right}.absent")] {
        let url = format!("{by_name}?sslmode=verify-full&sslrootcert={absent_or_broken}").parse().unwrap();
        assert!(matches!(migrate(&url).await, Err(OpenError::Certificates { .. })));
    }

    // Both kinds of connections are encrypted.
    let url = format!("{by_name}?sslmode=verify-full&sslrootcert={right}").parse().unwrap();
    let world = World::new(&Fixture::on(url)).await;
    let room = world.room().await;
    world.post(room.id, "hello").await;
    world.node.store.ping().await.unwrap();
    administer(
        &server.url(),
        "DO $$ BEGIN
             ASSERT (SELECT count(*) >= 2 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name = 'chatsphere');
         END $$",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_without_tls_fails_only_urls_that_require_it() {
    let Some(server) = PostgresServer::start().await else { return };
    for (mode, works) in [("disable", true), ("prefer", true), ("require", false), ("verify-full", false)] {
        let result = migrate(&format!("{}?sslmode={mode}", server.url()).parse().unwrap()).await;
        assert_eq!(result.is_ok(), works, "{mode}: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_schema_in_the_url_separates_the_tables() {
    let Some(server) = PostgresServer::start().await else { return };
    let url = format!("{}?schema=chat", server.url()).parse().unwrap();
    let error = migrate(&url).await.unwrap_err().to_string();
    assert!(error.contains("schema"), "{error}");
    administer(&server.url(), "CREATE SCHEMA chat; CREATE TABLE public.users (name text)").await;
    let world = World::new(&Fixture::on(url)).await;
    let room = world.room().await;
    world.post(room.id, "hello").await;
    administer(&server.url(), "DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM chat.messages); END $$").await;
    // In the other schema, a table of another program prevents the migration.
    assert!(matches!(migrate(&server.url().parse().unwrap()).await, Err(OpenError::NotADatabase { .. })));
}
