use std::path::{Path, PathBuf};
use std::sync::Arc;

use chatsphere_net::listener::{ListenerOptions, Tls, TlsError, UpgradedStream};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{AMPLE, GET, SHORT, Server, app, early_error, patient, read_to_end, read_until, start, time_to_close};
use crate::upgrade::upgrading;

pub(crate) struct Identity {
    dir: TempDir,
    pub(crate) der: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let der = write_pair(dir.path());
        Self { dir, der }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::load(&self.path("cert.pem"), &self.path("key.pem")).unwrap()
    }
}

fn write_pair(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

pub(crate) fn connector(
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn connect(server: &Server, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = server.connect().await;
    connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

#[tokio::test]
async fn speaks_tls_1_2_and_1_3_and_http_1_1_alone() {
    let identity = Identity::new();
    let server = start(app(), ListenerOptions { tls: Some(identity.tls()), ..patient() }).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let connector = connector(&identity.der, &[version], &["h2", "http/1.1"]);
        let mut tls = connect(&server, &connector).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            tls.write_all(GET).await.unwrap();
            read_until(&mut tls, "hello").await;
        }
    }
    let h2_only = connector(&identity.der, &[&rustls::version::TLS13], &["h2"]);
    let refused = connect(&server, &h2_only).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn garbage_is_answered_over_tls_too() {
    let identity = Identity::new();
    let server = start(app(), ListenerOptions { tls: Some(identity.tls()), ..patient() }).await;
    let mut tls = connect(&server, &connector(&identity.der, &[&rustls::version::TLS13], &[])).await.unwrap();
    tls.write_all(b"hello?\r\n\r\n").await.unwrap();
    assert_eq!(early_error(&read_to_end(&mut tls).await, 400), "Malformed");
}

#[tokio::test]
async fn time_outs_and_drain_hold_over_tls() {
    let identity = Identity::new();
    let options = ListenerOptions { tls: Some(identity.tls()), idle_timeout: SHORT, write_timeout: SHORT, ..patient() };
    let server = start(app(), options).await;
    let connector = connector(&identity.der, &[&rustls::version::TLS13], &[]);
    let mut tls = connect(&server, &connector).await.unwrap();
    tls.write_all(GET).await.unwrap();
    read_until(&mut tls, "hello").await;
    assert!(time_to_close(&mut tls).await < AMPLE);
    let mut tls = connect(&server, &connector).await.unwrap();
    tls.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tls.flush().await.unwrap();
    tokio::time::sleep(SHORT).await;
    assert!(server.handle.drained(AMPLE).await, "a client that reads nothing holds the server");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_and_holds_up_nobody() {
    let identity = Identity::new();
    let options = ListenerOptions { tls: Some(identity.tls()), header_timeout: SHORT * 5, ..patient() };
    let server = start(app(), options).await;
    let mut silent = server.connect().await;
    let mut stuck = server.connect().await;
    // The beginning of a ClientHello.
    stuck.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut tls = connect(&server, &connector(&identity.der, &[&rustls::version::TLS13], &[])).await.unwrap();
    tls.write_all(GET).await.unwrap();
    read_until(&mut tls, "hello").await;
    assert!(time_to_close(&mut silent).await < AMPLE);
    assert!(time_to_close(&mut stuck).await < AMPLE);
    // Nor does a client with another protocol.
    let mut plain = server.connect().await;
    plain.write_all(GET).await.unwrap();
    assert!(time_to_close(&mut plain).await < AMPLE);
}

#[tokio::test]
async fn an_upgrade_hands_over_the_tls_stream() {
    let identity = Identity::new();
    let (app, mut upgraded) = upgrading();
    let server = start(app, ListenerOptions { tls: Some(identity.tls()), ..patient() }).await;
    let mut tls = connect(&server, &connector(&identity.der, &[&rustls::version::TLS13], &[])).await.unwrap();
    tls.write_all(b"GET /up HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\nahead").await.unwrap();
    read_until(&mut tls, "\r\n\r\n").await;
    let taken = upgraded.recv().await.unwrap();
    assert_eq!(&taken.read_ahead[..], b"ahead");
    assert!(taken.slot.is_some());
    let UpgradedStream::Other(mut stream) = taken.stream else { panic!("TLS was left out") };
    tls.write_all(b"there.").await.unwrap();
    assert_eq!(read_until(&mut stream, ".").await, "there.");
    stream.write_all(b"and back.").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(read_until(&mut tls, ".").await, "and back.");
}

#[tokio::test]
async fn a_reloaded_certificate_is_used_from_the_next_connection_on() {
    let identity = Identity::new();
    let tls = identity.tls();
    let server = start(app(), ListenerOptions { tls: Some(tls.clone()), ..patient() }).await;
    let old = connector(&identity.der, &[&rustls::version::TLS13], &[]);
    let mut open = connect(&server, &old).await.unwrap();

    std::fs::write(identity.path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::KeyMismatch { .. })));
    connect(&server, &old).await.expect("a failed reload changes nothing");

    let new = write_pair(identity.dir.path());
    tls.reload().unwrap();
    connect(&server, &connector(&new, &[&rustls::version::TLS13], &[])).await.unwrap();
    open.write_all(GET).await.unwrap();
    read_until(&mut open, "hello").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_reloads_the_certificate() {
    use rustix::process::{Signal, getpid, kill_process};

    let identity = Identity::new();
    let tls = identity.tls();
    let server = start(app(), ListenerOptions { tls: Some(tls.clone()), ..patient() }).await;
    // A SIGHUP without a handler would end the process.
    let _listening = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let reloading = tokio::spawn(tls.reload_on_hangup(server.shutdown.clone()));
    // Twice: reloading continues after a failure and after a success.
    for _ in 0..2 {
        std::fs::write(identity.path("key.pem"), "nothing").unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        tokio::time::sleep(SHORT).await;
        let new = connector(&write_pair(identity.dir.path()), &[&rustls::version::TLS13], &[]);
        tokio::time::timeout(AMPLE, async {
            while connect(&server, &new).await.is_err() {
                kill_process(getpid(), Signal::HUP).unwrap();
                tokio::time::sleep(SHORT / 10).await;
            }
        })
        .await
        .expect("the new certificate is not used");
    }
    server.shutdown.cancel();
    tokio::time::timeout(AMPLE, reloading).await.unwrap().unwrap().unwrap();
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let identity = Identity::new();
    let (cert, key) = (identity.path("cert.pem"), identity.path("key.pem"));
    let other = identity.path("other.pem");
    let says = |cert: &Path, key: &Path| Tls::load(cert, key).unwrap_err().to_string();

    assert!(says(&other, &key).ends_with("other.pem can't be read"));
    assert!(says(&cert, &other).ends_with("other.pem can't be read"));
    assert!(says(&key, &key).ends_with("key.pem holds no certificate"));
    assert!(says(&cert, &cert).contains("cert.pem holds no private key"));
    std::fs::write(&other, "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n").unwrap();
    assert!(says(&other, &key).ends_with("other.pem is not a PEM file"));
    std::fs::write(&other, "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n").unwrap();
    assert!(says(&other, &key).ends_with("other.pem can't be used"));
    std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let mismatch = says(&cert, &other);
    assert!(mismatch.contains("does not belong to") && mismatch.contains("other.pem"), "{mismatch}");
}
