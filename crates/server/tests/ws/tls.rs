//! Tests of connections over TLS, where only the connection's task writes.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_net::listener::Tls;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::client::number;
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{CLOSE, Raw, TEXT};
use crate::server::{Server, Setup};

on_every_database!(a_stop_during_a_blocked_write_truncates_no_frame);

/// Makes a certificate for this machine, and a client that trusts it.
fn identity(database: &Database) -> (Tls, TlsConnector) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name| database.directory.path().join(name);
    std::fs::write(path("cert.pem"), cert.pem()).unwrap();
    std::fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    (Tls::load(&path("cert.pem"), &path("key.pem")).unwrap(), TlsConnector::from(Arc::new(config)))
}

async fn a_stop_during_a_blocked_write_truncates_no_frame(database: Arc<Database>) {
    // The time-out is long enough to read everything that was queued.
    let server = Server::start_with(&database, Setup::times(|times| times.close = Duration::from_secs(300))).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (0..300).map(|_| "x".repeat(16 * 1024))).await;
    let (tls, connector) = identity(&database);
    let addr = server.listen(|options| options.tls = Some(tls));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let tcp = socket.connect(addr).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    let mut raw = Raw::connect_on(stream, &bob.token).await;

    // The first page follows at once, and exceeds the system's buffers.
    raw.send(&json!({ "type": "join", "roomId": room, "since": 0 })).await;
    assert_eq!(raw.read().await.json()["type"], "join_confirmation");
    server.stopping.cancel();
    let mut cursor = 0;
    let code = loop {
        let frame = raw.read().await;
        match frame.first {
            TEXT if frame.json()["type"] == "closing" => {}
            TEXT => {
                let page = frame.json();
                assert_eq!(number(&page["fromSeq"]), cursor + 1);
                cursor = number(&page["toSeq"]);
            }
            CLOSE => break frame.code(),
            _ => {}
        }
    };
    assert_eq!(code, 1001);
    assert!((1..302).contains(&cursor), "the stop came while the replay was under way, not {cursor}");
}
