//! The secrets of this node: given by settings, or generated on the first start and stored in the data directory.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chatsphere_realtime::BusKeys;
use chatsphere_store::{ClientIdKey, Fingerprint, KeyFingerprints};
use serde::Deserialize;

use crate::auth::{ContentKey, Keys, Secret, WeakSecret};
use crate::config::Settings;
use crate::data_dir::{DataDir, DataDirError};
use crate::own_file;

/// The secrets in use.
#[derive(Debug, Clone)]
pub struct Secrets {
    user: Secret,
    user_previous: Option<Secret>,
    client: Secret,
    client_previous: Option<Secret>,
    /// The key of hashes of contents. Absent before a server has started that makes it.
    content: Option<Secret>,
    /// Whether that key is not given by a setting, but generated.
    content_is_generated: bool,
    /// The file with the secrets that were not given.
    pub kept_in: Option<PathBuf>,
}

/// Why the secrets are missing or unusable.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The nodes of a cluster cannot each generate their own.
    #[error(
        "{missing} is not set, and the nodes of a cluster must all have the same one\n\
         make it once with `openssl rand -hex 32` and set {missing} to it on every node"
    )]
    ClusterNeedsSecrets {
        /// The missing setting.
        missing: &'static str,
    },
    /// The file in the data directory is invalid.
    #[error("{path} can't be used: {reason}\nput it back from a backup; without it the tokens that were given out are lost")]
    File {
        /// The file.
        path: String,
        /// The reason. Never quotes the file.
        reason: String,
    },
    /// The file in the data directory is inaccessible.
    #[error("{path} can't be used: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The reason and the remedy.
        reason: String,
    },
    /// The key of hashes of contents is missing, after it was made.
    #[error("CHATSPHERE_CONTENT_KEY is missing")]
    NoContentKey,
    /// The system provides no random numbers.
    #[error("this machine gives no random numbers to make secrets of: {0}")]
    Random(getrandom::Error),
    /// The data directory is unusable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl Secrets {
    /// The given secrets, completed by those in the data directory, which are created if they do not exist.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn resolve(settings: &Settings, directory: &DataDir) -> Result<Self, SecretsError> {
        let found = Self::find(settings, directory)?;
        if let Some(secrets) = &found
            && secrets.content.is_some()
        {
            return Ok(secrets.clone());
        }
        let kept = Kept::complete(directory, found.is_none(), settings.content_key.is_none())?;
        Self::join(settings, directory, kept).ok_or(SecretsError::NoContentKey)
    }

    /// The same, without creating any.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn find(settings: &Settings, directory: &DataDir) -> Result<Option<Self>, SecretsError> {
        match Self::given(settings)? {
            Some(given) if given.content.is_some() => Ok(Some(given)),
            _ => Ok(Self::join(settings, directory, Kept::read(directory)?.unwrap_or_default())),
        }
    }

    /// The given secrets, if those that sign tokens are given.
    ///
    /// # Errors
    /// [`SecretsError::ClusterNeedsSecrets`].
    pub fn given(settings: &Settings) -> Result<Option<Self>, SecretsError> {
        for (secret, missing) in [
            (&settings.jwt_secret, "JWT_SECRET"),
            (&settings.jwt_api_secret, "JWT_API_SECRET"),
            (&settings.content_key, "CHATSPHERE_CONTENT_KEY"),
        ] {
            if secret.is_none() && settings.is_cluster() {
                return Err(SecretsError::ClusterNeedsSecrets { missing });
            }
        }
        let (Some(user), Some(client)) = (settings.jwt_secret.clone(), settings.jwt_api_secret.clone()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            user,
            user_previous: settings.jwt_secret_previous.clone(),
            client,
            client_previous: settings.jwt_api_secret_previous.clone(),
            content: settings.content_key.clone(),
            content_is_generated: settings.content_key.is_none(),
            kept_in: None,
        }))
    }

    /// A given secret overrides the stored one, each by itself. `None` if one that signs tokens is missing.
    fn join(settings: &Settings, directory: &DataDir, kept: Kept) -> Option<Self> {
        let sign_tokens = settings.jwt_secret.is_some() && settings.jwt_api_secret.is_some();
        let is_used = !sign_tokens || (settings.content_key.is_none() && kept.content.is_some());
        // A file that was left behind must not bring back a previous secret of one that is given now.
        let user_previous = kept.user_previous.filter(|_| settings.jwt_secret.is_none());
        let client_previous = kept.client_previous.filter(|_| settings.jwt_api_secret.is_none());
        Some(Self {
            user: settings.jwt_secret.clone().or(kept.user)?,
            user_previous: settings.jwt_secret_previous.clone().or(user_previous),
            client: settings.jwt_api_secret.clone().or(kept.client)?,
            client_previous: settings.jwt_api_secret_previous.clone().or(client_previous),
            content: settings.content_key.clone().or(kept.content),
            content_is_generated: settings.content_key.is_none(),
            kept_in: is_used.then(|| directory.secrets_file()),
        })
    }

    /// The secrets of a file such as `secrets.toml`; given ones override them here too.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub(crate) fn from_text(settings: &Settings, directory: &DataDir, path: &Path, text: &str) -> Result<Self, SecretsError> {
        Self::given(settings)?;
        let reason = "it has no jwt_secret and jwt_api_secret".to_owned();
        let missing = || SecretsError::File { path: path.display().to_string(), reason };
        Self::join(settings, directory, Kept::parse(path, text)?).ok_or_else(missing)
    }

    /// The secrets in the format of `secrets.toml`.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = "# Keep these secret, and keep them with the backup that they belong to.\n".to_owned();
        for (name, secret) in [
            ("jwt_secret", Some(&self.user)),
            ("jwt_secret_previous", self.user_previous.as_ref()),
            ("jwt_api_secret", Some(&self.client)),
            ("jwt_api_secret_previous", self.client_previous.as_ref()),
            ("content_key", self.content.as_ref()),
        ] {
            if let Some(secret) = secret {
                // TOML's basic strings have JSON's escapes, and DEL must be escaped too.
                let value = serde_json::Value::from(secret.reveal()).to_string().replace('\u{7f}', "\\u007f");
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        text
    }

    /// The keys that sign and verify tokens.
    pub fn keys(&self) -> Keys {
        Keys::new(&self.user, self.user_previous.as_ref(), &self.client, self.client_previous.as_ref())
    }

    /// The key of hashes of clients' own ids of messages, from the same secret.
    pub fn client_id_key(&self) -> Option<ClientIdKey> {
        self.content.as_ref().map(|secret| ClientIdKey::new(secret.as_bytes()))
    }

    /// The key of hashes of contents. [`Secrets::resolve`] makes it.
    pub fn content_key(&self) -> Option<ContentKey> {
        self.content.as_ref().map(ContentKey::new)
    }

    /// The keys by which the nodes of a cluster authenticate each other, also during a rotation.
    pub fn bus_keys(&self) -> BusKeys {
        fn both<'a>(secret: &'a Secret, previous: Option<&'a Secret>) -> Vec<&'a [u8]> {
            std::iter::once(secret).chain(previous).map(Secret::as_bytes).collect()
        }
        BusKeys::derive(&both(&self.user, self.user_previous.as_ref()), &both(&self.client, self.client_previous.as_ref()))
    }

    /// The fingerprints by which the database recognises the secrets.
    pub fn fingerprints(&self) -> KeyFingerprints {
        let fingerprint = |secret: &Secret| Fingerprint::new(secret.fingerprint());
        KeyFingerprints {
            user: fingerprint(&self.user),
            user_previous: self.user_previous.as_ref().map(fingerprint),
            client: fingerprint(&self.client),
            client_previous: self.client_previous.as_ref().map(fingerprint),
            content: self.content.as_ref().map(fingerprint),
            content_is_generated: self.content_is_generated,
        }
    }
}

/// The content of `secrets.toml`: both secrets that sign tokens or none, and the key of hashes of contents, which files from
/// before there was one lack.
#[derive(Default)]
struct Kept {
    user: Option<Secret>,
    user_previous: Option<Secret>,
    client: Option<Secret>,
    client_previous: Option<Secret>,
    content: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptText {
    jwt_secret: Option<String>,
    jwt_secret_previous: Option<String>,
    jwt_api_secret: Option<String>,
    jwt_api_secret_previous: Option<String>,
    content_key: Option<String>,
}

impl Kept {
    fn read(directory: &DataDir) -> Result<Option<Self>, SecretsError> {
        let path = directory.secrets_file();
        let refuse = |reason: String| SecretsError::File { path: path.display().to_string(), reason };
        let text = match own_file::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(refuse("it is not UTF-8".to_owned())),
            Err(error) => {
                return Err(SecretsError::Unreadable { path: path.display().to_string(), reason: error.to_string() });
            }
        };
        Self::parse(&path, &text).map(Some)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SecretsError> {
        let refuse = |reason: String| SecretsError::File { path: path.display().to_string(), reason };
        // Only the parser's short message: the long form quotes the line.
        let kept: KeptText = toml::from_str(text).map_err(|error| refuse(error.message().to_owned()))?;
        let parse = |name: &str, value: &str| Secret::parse(name, value).map_err(|error: WeakSecret| refuse(error.to_string()));
        let maybe = |name: &str, value: Option<String>| value.map(|value| parse(name, &value)).transpose();
        match (&kept.jwt_secret, &kept.jwt_api_secret, &kept.content_key) {
            (Some(_), Some(_), _) | (None, None, Some(_)) => {}
            (None, _, _) => return Err(refuse("it has no jwt_secret".to_owned())),
            (_, None, _) => return Err(refuse("it has no jwt_api_secret".to_owned())),
        }
        Ok(Self {
            user: maybe("jwt_secret", kept.jwt_secret)?,
            user_previous: maybe("jwt_secret_previous", kept.jwt_secret_previous)?,
            client: maybe("jwt_api_secret", kept.jwt_api_secret)?,
            client_previous: maybe("jwt_api_secret_previous", kept.jwt_api_secret_previous)?,
            content: maybe("content_key", kept.content_key)?,
        })
    }

    /// Creates the missing secrets and stores them before they are used: a database that expects lost secrets would be
    /// unusable. The caller holds the installation's lock if the file exists already.
    fn complete(directory: &DataDir, signing: bool, content: bool) -> Result<Self, SecretsError> {
        let kept = Self::read(directory)?.unwrap_or_default();
        let mut more = String::new();
        if signing && kept.user.is_none() {
            let _ = write!(more, "jwt_secret = \"{}\"\njwt_api_secret = \"{}\"\n", random_hex()?, random_hex()?);
        }
        if content && kept.content.is_none() {
            let _ = writeln!(more, "content_key = \"{}\"", random_hex()?);
        }
        let path = directory.secrets_file();
        let unreadable =
            |error: std::io::Error| SecretsError::Unreadable { path: path.display().to_string(), reason: error.to_string() };
        match own_file::read(&path) {
            // Whoever made the link would put it back.
            Ok(_) if path.is_symlink() && !more.is_empty() => {
                let reason = "it is a link, and has no content_key: add one, made with `openssl rand -hex 32`";
                return Err(SecretsError::Unreadable { path: path.display().to_string(), reason: reason.to_owned() });
            }
            Ok(text) => directory.write_private(&path, &format!("{}\n{more}", text.trim_end()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let head = "# Made on the first start. Keep these secret, and keep them with the database's backups.\n";
                directory.write_private_once(&path, &format!("{head}{more}"))?;
            }
            Err(error) => return Err(unreadable(error)),
        }
        // A command started at the same time may have been faster: its secrets count.
        Self::read(directory)?.ok_or_else(|| SecretsError::File {
            path: path.display().to_string(),
            reason: "it vanished as soon as it was made".to_owned(),
        })
    }
}

/// The output of `openssl rand -hex 32`.
fn random_hex() -> Result<String, SecretsError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(SecretsError::Random)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let above = tempfile::tempdir().unwrap();
        let directory = DataDir::make(above.path()).unwrap();
        (above, directory)
    }

    fn given() -> Option<Secret> {
        Secret::parse("it", &random_hex().unwrap()).ok()
    }

    #[test]
    fn made_once_and_kept() {
        let (_above, directory) = directory();
        let first = Secrets::resolve(&Settings::default(), &directory).unwrap();
        let second = Secrets::resolve(&Settings::default(), &directory).unwrap();
        assert_eq!(first.fingerprints(), second.fingerprints());
        assert_ne!(first.fingerprints().user, first.fingerprints().client);
        let mode = std::fs::metadata(directory.secrets_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(first.kept_in, Some(directory.secrets_file()));
    }

    #[test]
    fn what_is_given_counts_first() {
        let (_above, directory) = directory();
        let settings = Settings { jwt_secret: given(), jwt_api_secret: given(), content_key: given(), ..Settings::default() };
        let secrets = Secrets::resolve(&settings, &directory).unwrap();
        assert_eq!(secrets.kept_in, None);
        assert!(!directory.secrets_file().exists());
        let one = Settings { jwt_secret: given(), ..Settings::default() };
        let mixed = Secrets::resolve(&one, &directory).unwrap();
        assert_eq!(Some(mixed.user), one.jwt_secret);
        assert!(mixed.kept_in.is_some());
    }

    #[test]
    fn a_key_of_contents_is_added_to_what_is_there() {
        let (_above, directory) = directory();
        let old = format!("# mine\njwt_secret = \"{}\"\njwt_api_secret = \"{}\"", random_hex().unwrap(), random_hex().unwrap());
        directory.write_private(&directory.secrets_file(), &old).unwrap();
        let found = Secrets::find(&Settings::default(), &directory).unwrap().unwrap();
        assert_eq!(found.content, None);
        let first = Secrets::resolve(&Settings::default(), &directory).unwrap();
        assert_eq!((&first.user, &first.client), (&found.user, &found.client));
        let text = std::fs::read_to_string(directory.secrets_file()).unwrap();
        assert!(text.starts_with(&old), "{text}");
        let second = Secrets::resolve(&Settings::default(), &directory).unwrap();
        assert_eq!(first.fingerprints(), second.fingerprints());
        assert!(second.content_key().is_some());
        // A file that is managed elsewhere is not replaced.
        let elsewhere = directory.path().join("elsewhere.toml");
        directory.write_private(&elsewhere, &old).unwrap();
        std::fs::remove_file(directory.secrets_file()).unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.secrets_file()).unwrap();
        let error = Secrets::resolve(&Settings::default(), &directory).unwrap_err().to_string();
        assert!(error.contains("it is a link") && error.contains("openssl rand -hex 32"), "{error}");
        assert!(directory.secrets_file().is_symlink());
    }

    #[test]
    fn with_given_secrets_only_the_key_of_contents_is_made() {
        let (_above, directory) = directory();
        let settings = Settings { jwt_secret: given(), jwt_api_secret: given(), ..Settings::default() };
        let first = Secrets::resolve(&settings, &directory).unwrap();
        assert_eq!(first.kept_in, Some(directory.secrets_file()));
        let text = std::fs::read_to_string(directory.secrets_file()).unwrap();
        assert!(text.contains("content_key") && !text.contains("jwt_secret"), "{text}");
        assert_eq!(Secrets::resolve(&settings, &directory).unwrap().fingerprints(), first.fingerprints());
        // A file without the other secrets is no reason to make them, unless they are needed.
        assert!(Secrets::find(&Settings::default(), &directory).unwrap().is_none());
        let all = Secrets::resolve(&Settings::default(), &directory).unwrap();
        assert_eq!(all.content, first.content);
    }

    #[test]
    fn a_file_that_was_left_behind_brings_back_no_previous_secret() {
        let (_above, directory) = directory();
        let left =
            Settings { jwt_secret: given(), jwt_secret_previous: given(), jwt_api_secret: given(), ..Settings::default() };
        let text = Secrets::given(&left).unwrap().unwrap().to_toml();
        directory.write_private(&directory.secrets_file(), &text).unwrap();
        let settings = Settings { jwt_secret: given(), ..Settings::default() };
        assert_eq!(Secrets::resolve(&settings, &directory).unwrap().user_previous, None);
        assert_eq!(Secrets::resolve(&Settings::default(), &directory).unwrap().user_previous, left.jwt_secret_previous);
    }

    #[test]
    fn what_is_written_for_a_backup_is_read_again() {
        let (_above, directory) = directory();
        let odd = Secret::parse("it", "0123456789\"abcdef'\\0123456789abcdef\u{7f}\té").ok();
        let settings =
            Settings { jwt_secret: given(), jwt_api_secret: odd, jwt_secret_previous: given(), ..Settings::default() };
        let secrets = Secrets::resolve(&settings, &directory).unwrap();
        let read = Secrets::from_text(&Settings::default(), &directory, Path::new("it"), &secrets.to_toml()).unwrap();
        assert_eq!(read.fingerprints(), secrets.fingerprints());
    }

    #[test]
    fn a_cluster_makes_none() {
        let (_above, directory) = directory();
        let nats_url = "nats://bus".parse().ok();
        let settings = Settings { nats_url, jwt_secret: given(), ..Settings::default() };
        let error = Secrets::resolve(&settings, &directory).unwrap_err().to_string();
        assert!(error.starts_with("JWT_API_SECRET is not set") && error.contains("openssl rand -hex 32"), "{error}");
        assert!(!directory.secrets_file().exists());
    }

    #[test]
    fn a_spoilt_file_is_refused_without_being_shown() {
        let (_above, directory) = directory();
        for text in ["jwt_secret = \"s3cret\n", "jwt_secret = \"s3cret\"\njwt_api_secret = \"s3cret\"\n", "s3cret = 1\n"] {
            std::fs::write(directory.secrets_file(), text).unwrap();
            let error = Secrets::resolve(&Settings::default(), &directory).unwrap_err().to_string();
            assert!(error.contains("secrets.toml can't be used") && !error.contains("\"s3cret"), "{error}");
        }
    }
}
