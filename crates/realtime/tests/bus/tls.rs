//! TLS to NATS: a private authority and client certificates.

use std::path::Path;

use chatsphere_realtime::NatsOptions;
use chatsphere_realtime::bus::{DisconnectReason, NatsTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::nats::Nats;
use crate::node::{Node, options};

/// Writes `name-ca.pem`, `name.pem` and `name.key`: an authority, and a certificate by it for this machine.
fn identity(directory: &Path, name: &str) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let issuer = Issuer::from_params(&authority, &authority_key);
    let own = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(directory.join(format!("{name}-ca.pem")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.pem")), own.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn with_an_authority_and_a_certificate_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["server", "node"] {
        identity(directory.path(), name);
    }
    let path = |name: &str| directory.path().join(name);
    let server = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true, timeout: 20 }}",
        path("server.pem"),
        path("server.key"),
        path("node-ca.pem")
    );
    let (ca, certificate, key) = (path("server-ca.pem"), path("node.pem"), path("node.key"));
    let others = path("node-ca.pem");
    let Some(nats) = Nats::start(&server).await else { return };
    let full = NatsTls { authorities: Some(ca.clone()), certificate: Some(certificate), key: Some(key) };
    // The scheme makes no difference.
    for scheme in ["nats", "tls"] {
        let with = |tls: &NatsTls| NatsOptions { tls: tls.clone(), ..options(&format!("{scheme}://localhost:{}", nats.port)) };
        let a = Node::connected(with(&full)).await;
        let mut b = Node::connected(with(&full)).await;
        a.commit(&["hello"]);
        assert_eq!(b.receive().await, ["hello"]);
        Node::start(with(&NatsTls { authorities: Some(others.clone()), ..full.clone() }))
            .is_disconnected(DisconnectReason::Tls)
            .await;
        Node::start(with(&NatsTls::default())).is_disconnected(DisconnectReason::Tls).await;
    }
}

/// A client that asks for TLS never falls back to plain text, which would expose its password.
#[tokio::test]
async fn never_in_the_clear_where_tls_was_asked_for() {
    let Some(nats) = Nats::start("").await else { return };
    let directory = tempfile::tempdir().unwrap();
    identity(directory.path(), "server");
    let authorities = Some(directory.path().join("server-ca.pem"));
    let tls = NatsTls { authorities, ..NatsTls::default() };
    for url in [format!("tls://localhost:{}", nats.port), nats.url("")] {
        Node::start(NatsOptions { tls: tls.clone(), ..options(&url) }).is_disconnected(DisconnectReason::Tls).await;
    }
}
