//! Tests of the installation's row: its epoch, and the fingerprints of the keys that signed its tokens.

use std::sync::Arc;

use chatsphere_store::{Fingerprint, OpenError, SigningKey};

use crate::fixture::Fixture;
use crate::on_every_database;

on_every_database!(
    an_installation_keeps_its_epoch,
    other_keys_are_rejected_and_rotated_ones_accepted,
    a_key_of_contents_is_added_once_and_never_changed,
    many_nodes_open_a_new_database_at_once,
);

async fn an_installation_keeps_its_epoch(fixture: Arc<Fixture>) {
    let (one, other) = (fixture.node().await, fixture.node().await);
    assert_eq!(one.store.epoch(), other.store.epoch());
    assert_eq!(one.store.epoch().as_str().len(), 16);
    one.store.close().await;
    other.store.close().await;
    assert_eq!(fixture.node().await.store.epoch(), one.store.epoch());
}

async fn other_keys_are_rejected_and_rotated_ones_accepted(fixture: Arc<Fixture>) {
    drop(fixture.node().await);
    let other = fixture.node_with(|options| options.keys.client = Fingerprint::new("other")).await;
    assert!(matches!(other.err(), Some(OpenError::OtherSecrets { which: SigningKey::Client })));
    let other = fixture.node_with(|options| options.keys.user = Fingerprint::new("other")).await;
    assert!(matches!(other.err(), Some(OpenError::OtherSecrets { which: SigningKey::User })));
    let rotate = |options: &mut chatsphere_store::OpenOptions| {
        options.keys.user_previous = Some(options.keys.user.clone());
        options.keys.user = Fingerprint::new("new user key");
    };
    fixture.node_with(rotate).await.unwrap();
    fixture.node_with(rotate).await.unwrap();
    // The new key is now the installation's key; the old one alone is rejected.
    let new = |options: &mut chatsphere_store::OpenOptions| options.keys.user = Fingerprint::new("new user key");
    fixture.node_with(new).await.unwrap();
    assert!(matches!(fixture.node_with(|_| {}).await.err(), Some(OpenError::OtherSecrets { which: SigningKey::User })));
}

async fn a_key_of_contents_is_added_once_and_never_changed(fixture: Arc<Fixture>) {
    // A database from before there was such a key.
    fixture.node_with(|options| options.keys.content = None).await.unwrap();
    fixture.node().await;
    for other in [None, Some(Fingerprint::new("other"))] {
        let other = fixture.node_with(|options| options.keys.content = other).await;
        assert!(matches!(other.err(), Some(OpenError::OtherSecrets { which: SigningKey::Content })));
    }
    fixture.node().await;
}

async fn many_nodes_open_a_new_database_at_once(fixture: Arc<Fixture>) {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let fixture = Arc::clone(&fixture);
        opening.spawn(async move { fixture.node().await.store.epoch() });
    }
    let epochs = opening.join_all().await;
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
}
