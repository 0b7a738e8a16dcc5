//! What this node was told to be.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use chatsphere_core::{Limits, TokenLifetimes};
use chatsphere_realtime::bus::{Credentials, NatsOptions, NatsTls, NatsUrl, NkeySeed};
use chatsphere_store::{DatabaseUrl, QueueBounds};
use ipnet::IpNet;

use crate::auth::Secret;

/// Every setting with its value. [`Default`] gives the documented defaults: the documentation is made from it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the node keeps its files.
    pub data_dir: PathBuf,
    /// Whether the members of this process's own groups may write to those files.
    pub trust_group: bool,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 picks a free one.
    pub port: u16,
    /// The PEM file with the certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// From which origins browsers may come; `None` is any.
    pub allowed_origins: Option<Vec<String>>,
    /// Which database; `None` is SQLite in the data directory.
    pub database_url: Option<DatabaseUrl>,
    /// Reads that run at the same time; `None` is what suits the database.
    pub database_readers: Option<usize>,
    /// How much may wait to be written.
    pub queue: QueueBounds,
    /// How many bytes of the disk stay free on SQLite; 64 MiB or an eighth of the disk if it is not set.
    pub min_free_disk: Option<usize>,
    /// How many bytes a user may store a day; 0 is no limit.
    pub user_bytes_per_day: usize,
    /// Signs USER tokens.
    pub jwt_secret: Option<Secret>,
    /// Signed USER tokens before.
    pub jwt_secret_previous: Option<Secret>,
    /// Signs CLIENT tokens.
    pub jwt_api_secret: Option<Secret>,
    /// Signed CLIENT tokens before.
    pub jwt_api_secret_previous: Option<Secret>,
    /// How long tokens live.
    pub lifetimes: TokenLifetimes,
    /// Whether `jwt_expires_in` was given as a bare number. It counts as seconds, and the first version took milliseconds.
    pub jwt_expires_in_has_no_unit: bool,
    /// The bus of a cluster.
    pub nats_url: Option<NatsUrl>,
    /// Shows the bus who this node is, by a key.
    pub nats_nkey_seed: Option<NkeySeed>,
    /// Shows the bus who this node is, by a file with a JWT and its key.
    pub nats_credentials: Option<PathBuf>,
    /// Whom to trust on the way to the bus, and who this node is there.
    pub nats_tls: NatsTls,
    /// Whether the demo is served.
    pub demo: bool,
    /// Whether anyone may read the metrics.
    pub metrics_public: bool,
    /// Lets its holder read the metrics, and nothing else.
    pub metrics_token: Option<Secret>,
    /// Which log lines are written, in the syntax of `tracing`.
    pub log: String,
    /// How they are written.
    pub log_format: LogFormat,
    /// How long a stop may take.
    pub shutdown_timeout: Duration,
    /// Whether rates are limited at all.
    pub rate_limit: bool,
    /// What clients may send and hold, before `rate_limit` is looked at: see [`Settings::limits_in_force`].
    pub limits: Limits,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// In colours on a terminal, plain elsewhere.
    Auto,
    /// Plain text.
    Human,
    /// A JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./chatsphere-data"),
            trust_group: false,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 3001,
            tls_cert: None,
            tls_key: None,
            trusted_proxies: Vec::new(),
            allowed_origins: None,
            database_url: None,
            database_readers: None,
            queue: QueueBounds::default(),
            min_free_disk: None,
            user_bytes_per_day: 0,
            jwt_secret: None,
            jwt_secret_previous: None,
            jwt_api_secret: None,
            jwt_api_secret_previous: None,
            lifetimes: TokenLifetimes::default(),
            jwt_expires_in_has_no_unit: false,
            nats_url: None,
            nats_nkey_seed: None,
            nats_credentials: None,
            nats_tls: NatsTls::default(),
            demo: true,
            metrics_public: false,
            metrics_token: None,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
            shutdown_timeout: Duration::from_secs(10),
            rate_limit: true,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Whether this node is one of several that a bus connects. Such a node is given its secrets and makes no first token.
    pub fn is_cluster(&self) -> bool {
        self.nats_url.is_some()
    }

    /// How this node comes to the bus, if it is one of a cluster.
    pub fn nats(&self) -> Option<NatsOptions> {
        let credentials = match (&self.nats_nkey_seed, &self.nats_credentials) {
            (Some(seed), _) => Credentials::Nkey(seed.clone()),
            (None, Some(file)) => Credentials::File(file.clone()),
            (None, None) => Credentials::Url,
        };
        Some(NatsOptions { url: self.nats_url.clone()?, credentials, tls: self.nats_tls.clone() })
    }

    /// The limits that hold, the rate limit being off included.
    pub fn limits_in_force(&self) -> Limits {
        let mut limits = self.limits.clone();
        if !self.rate_limit {
            limits.messages_per_second = 0;
            limits.reads_per_second = 0;
        }
        limits
    }

    /// What is taken, but perhaps not as it was meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.jwt_expires_in_has_no_unit {
            let seconds = self.lifetimes.user.as_secs();
            warnings.push(format!(
                "JWT_EXPIRES_IN is a bare number and taken as {seconds} seconds; the Node.js version took milliseconds. Write \
                 the unit: {seconds}s"
            ));
        }
        warnings
    }

    /// The database to use.
    pub fn database(&self) -> DatabaseUrl {
        self.database_url.clone().unwrap_or_else(|| DatabaseUrl::sqlite(self.data_dir.join("chatsphere.db")))
    }
}

impl LogFormat {
    /// The word for it in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }

    /// The inverse of [`LogFormat::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Auto, Self::Human, Self::Json].into_iter().find(|format| format.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let settings = Settings {
            jwt_secret: Secret::parse("it", "s3cret-s3cret-s3cret-s3cret-s3cret").ok(),
            nats_url: "nats://ada:s3cret@bus".parse().ok(),
            database_url: "postgresql://ada:s3cret@db/chat".parse().ok(),
            ..Settings::default()
        };
        assert!(settings.jwt_secret.is_some() && settings.nats_url.is_some() && settings.database_url.is_some());
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn rate_limit_off_is_no_rate() {
        let settings = Settings { rate_limit: false, ..Settings::default() };
        let unlimited = Limits { messages_per_second: 0, reads_per_second: 0, ..Limits::default() };
        assert_eq!(settings.limits_in_force(), unlimited);
        assert_eq!(Settings::default().limits_in_force(), Limits::default());
    }
}
