//! Checks that the secrets are strong and private.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::finding::Finding;
use crate::config::{Loaded, Place, Settings};
use crate::data_dir::DataDir;
use crate::secrets::{Secrets, SecretsError};

const SECRETS: &str = "secrets";
const PERMISSIONS: &str = "permissions";
/// Permissions of the group and others.
const NOT_THE_OWNER: u32 = 0o077;
/// Permissions of others. A configuration file may be shared with a group.
const OTHERS: u32 = 0o007;

pub(super) fn check(loaded: &Loaded) -> Vec<Finding> {
    vec![good(loaded), private(loaded)]
}

fn good(loaded: &Loaded) -> Finding {
    let settings = &loaded.settings;
    match present(settings) {
        Ok(Some(Secrets { kept_in: Some(file), .. })) => Finding::ok(SECRETS, format!("strong, kept in {}", file.display())),
        Ok(Some(_)) => Finding::ok(SECRETS, "strong, as configured"),
        Ok(None) => Finding::ok(SECRETS, "will be made on the first start"),
        Err(error) => Finding::from_error(SECRETS, &error.to_string()),
    }
}

/// The secrets that a start would use, unless it had to create them.
pub(super) fn present(settings: &Settings) -> Result<Option<Secrets>, SecretsError> {
    match DataDir::at(&settings.data_dir) {
        Some(directory) => Secrets::find(settings, &directory),
        None => Secrets::given(settings),
    }
}

fn private(loaded: &Loaded) -> Finding {
    let own = ["secrets.toml", "client-token", "chatsphere.db", "chatsphere.db-wal"]
        .map(|name| (loaded.settings.data_dir.join(name), NOT_THE_OWNER));
    let configured = loaded.origins().filter(|(setting, _)| setting.secret).filter_map(|(_, place)| match place {
        Place::File { path, .. } => Some((path.clone(), OTHERS)),
        Place::DotEnv { .. } => Some((".env".into(), OTHERS)),
        Place::Default | Place::Environment { .. } | Place::Flag { .. } => None,
    });
    let for_nats = [&loaded.settings.nats_credentials, &loaded.settings.nats_tls.key];
    let for_nats = for_nats.into_iter().flatten().map(|path| (path.clone(), OTHERS));
    let open: Vec<String> = own
        .into_iter()
        .chain(configured)
        .chain(for_nats)
        .filter(|(path, mask)| mode(path).is_some_and(|mode| mode & mask != 0))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if open.is_empty() {
        return Finding::ok(PERMISSIONS, "nobody else can read the database and the files with secrets");
    }
    Finding::wrong(
        PERMISSIONS,
        format!("other users of this machine can read {}", open.join(", ")),
        format!("chmod 600 {}", open.join(" ")),
    )
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode())
}
