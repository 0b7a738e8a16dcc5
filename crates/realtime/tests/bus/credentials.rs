//! Authentication by every method that NATS offers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatsphere_realtime::NatsOptions;
use chatsphere_realtime::bus::{Credentials, DisconnectReason};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::nats::Nats;
use crate::node::{Node, options};

/// Two nodes connect and receive each other's messages.
async fn are_let_in(options: NatsOptions) {
    let a = Node::connected(options.clone()).await;
    let mut b = Node::connected(options).await;
    a.commit(&["hello"]);
    assert_eq!(b.receive().await, ["hello"]);
}

async fn is_turned_away(options: NatsOptions) {
    Node::start(options).is_disconnected(DisconnectReason::Unauthorized).await;
}

#[tokio::test]
async fn user_and_password() {
    let users = r#"authorization { users = [
        { user: "ada", password: "secret" },
        { user: "a@b:c/ü", password: "p@:/?#,%+ $&=;'\"\\" },
        { user: "nopass", password: "" },
    ] }"#;
    let Some(nats) = Nats::start(users).await else { return };
    are_let_in(options(&nats.url("ada:secret@"))).await;
    let encoded = "a%40b%3Ac%2F%C3%BC:p%40%3A%2F%3F%23%2C%25%2B%20%24%26%3D%3B%27%22%5C@";
    are_let_in(options(&nats.url(encoded))).await;
    for login in ["", "ada:Secret@", "ada:secre%74t@", "bob:secret@", "ada@", "ada:@"] {
        is_turned_away(options(&nats.url(login))).await;
    }
}

#[tokio::test]
async fn a_token() {
    let Some(nats) = Nats::start(r#"authorization { token: "t0ken/@:" }"#).await else { return };
    are_let_in(options(&nats.url("t0ken%2F%40%3A@"))).await;
    for login in ["", "token@", "t0ken%2F%40:@"] {
        is_turned_away(options(&nats.url(login))).await;
    }
}

#[tokio::test]
async fn an_nkey() {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let users = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", known.public_key());
    let Some(nats) = Nats::start(&users).await else { return };
    let by = |key: &KeyPair| NatsOptions {
        credentials: Credentials::Nkey(key.seed().unwrap().parse().unwrap()),
        ..options(&nats.url(""))
    };
    are_let_in(by(&known)).await;
    is_turned_away(by(&unknown)).await;
    is_turned_away(options(&nats.url(""))).await;
}

#[tokio::test]
async fn a_credentials_file() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let unlimited = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let operator_jwt = jwt(&operator, &operator, json!({ "type": "operator", "version": 2 }));
    let account_jwt = jwt(&operator, &account, json!({ "limits": unlimited, "type": "account", "version": 2 }));
    let may = json!({ "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
    let user_jwt = jwt(&account, &user, may.clone());
    let configuration = format!(
        "operator: \"{operator_jwt}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{account_jwt}\" }}",
        account.public_key()
    );
    let Some(nats) = Nats::start(&configuration).await else { return };

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.creds");
    let write = |jwt: &str, key: &KeyPair| {
        let seed = key.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let by_file = || NatsOptions { credentials: Credentials::File(file.clone()), ..options(&nats.url("")) };
    write(&user_jwt, &user);
    are_let_in(by_file()).await;
    // Signed by an account that the server does not know, then corrected while the node retries.
    let stranger = KeyPair::new_account();
    write(&jwt(&stranger, &user, may), &user);
    let node = Node::start(by_file());
    node.is_disconnected(DisconnectReason::Unauthorized).await;
    std::fs::remove_file(&file).unwrap();
    node.is_disconnected(DisconnectReason::Credentials).await;
    write(&user_jwt, &user);
    node.is_connected().await;
}

/// A JWT in the format of NATS: signed by the issuer's nkey for another key.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": "TEST", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": nats,
    });
    let signed = format!("{}.{}", encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), encode(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap()))
}
