//! Tests of inspecting a database without changing it.

use std::sync::Arc;

use chatsphere_store::{Fingerprint, OpenError, SigningKey, inspect, migrate};

use crate::fixture::{Fixture, keys};
use crate::on_every_database;

on_every_database!(inspecting_changes_nothing, inspecting_finds_what_opening_would_find);

async fn inspecting_changes_nothing(fixture: Arc<Fixture>) {
    for _ in 0..2 {
        let found = inspect(&fixture.url, Some(&keys())).await.unwrap();
        assert_eq!((found.version, found.knows_keys, found.now.is_some()), (0, false, !fixture.url.is_sqlite()));
    }
    assert!(fixture.url.sqlite_path().is_none_or(|path| !path.exists()));
    assert_eq!(migrate(&fixture.url).await.unwrap().from, 0);
    let found = inspect(&fixture.url, Some(&keys())).await.unwrap();
    assert_eq!((found.version, found.knows_keys), (found.newest, false));
    let other = chatsphere_store::KeyFingerprints { user: Fingerprint::new("other"), ..keys() };
    assert!(fixture.node_with(|options| options.keys = other).await.is_ok(), "the keys that were looked with were stored");
}

async fn inspecting_finds_what_opening_would_find(fixture: Arc<Fixture>) {
    let node = fixture.node().await;
    let found = inspect(&fixture.url, Some(&keys())).await.unwrap();
    assert!(found.knows_keys && found.version == found.newest);
    assert!(inspect(&fixture.url, None).await.unwrap().knows_keys);
    let other = chatsphere_store::KeyFingerprints { client: Fingerprint::new("other"), ..keys() };
    let refused = inspect(&fixture.url, Some(&other)).await;
    assert!(matches!(refused, Err(OpenError::OtherSecrets { which: SigningKey::Client })));
    node.store.close().await;
}
