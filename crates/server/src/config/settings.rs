//! The values of all settings.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use chatsphere_core::{Limits, TokenLifetimes};
use chatsphere_realtime::bus::{Credentials, NatsOptions, NatsTls, NatsUrl, NkeySeed};
use chatsphere_store::{DatabaseUrl, QueueBounds};
use ipnet::IpNet;

use crate::auth::Secret;

/// The values of all settings. [`Default`] provides the documented defaults: the documentation is generated from it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of the node's files.
    pub data_dir: PathBuf,
    /// Whether members of this process's groups may write to those files.
    pub trust_group: bool,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 picks a free one.
    pub port: u16,
    /// The PEM file with the certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The origins that browsers may use; `None` means any.
    pub allowed_origins: Option<Vec<String>>,
    /// The database; `None` means SQLite in the data directory.
    pub database_url: Option<DatabaseUrl>,
    /// Number of concurrent reads; `None` selects the default of the database.
    pub database_readers: Option<usize>,
    /// The bounds of the write queue.
    pub queue: QueueBounds,
    /// Bytes of free disk space that SQLite must leave; by default 64 MiB or an eighth of the disk.
    pub min_free_disk: Option<usize>,
    /// Bytes that a user may store per day; 0 means no limit.
    pub user_bytes_per_day: usize,
    /// The secret for USER tokens.
    pub jwt_secret: Option<Secret>,
    /// The previous secret for USER tokens.
    pub jwt_secret_previous: Option<Secret>,
    /// The secret for CLIENT tokens.
    pub jwt_api_secret: Option<Secret>,
    /// The previous secret for CLIENT tokens.
    pub jwt_api_secret_previous: Option<Secret>,
    /// The key of hashes of contents.
    pub content_key: Option<Secret>,
    /// Lifetimes of tokens.
    pub lifetimes: TokenLifetimes,
    /// Whether `jwt_expires_in` has no unit. It then counts as seconds, and the first version took milliseconds.
    pub jwt_expires_in_has_no_unit: bool,
    /// The bus of a cluster.
    pub nats_url: Option<NatsUrl>,
    /// The nkey seed for authentication to NATS.
    pub nats_nkey_seed: Option<NkeySeed>,
    /// The credentials file for authentication to NATS.
    pub nats_credentials: Option<PathBuf>,
    /// The TLS files for NATS.
    pub nats_tls: NatsTls,
    /// Whether the demo is enabled.
    pub demo: bool,
    /// Whether anyone may read the metrics.
    pub metrics_public: bool,
    /// A token that allows only reading the metrics.
    pub metrics_token: Option<Secret>,
    /// The log filter, in the syntax of `tracing`.
    pub log: String,
    /// The log format.
    pub log_format: LogFormat,
    /// Maximum duration of a shutdown.
    pub shutdown_timeout: Duration,
    /// Whether rate limits apply.
    pub rate_limit: bool,
    /// The limits of clients, before `rate_limit` is applied: see [`Settings::limits_in_force`].
    pub limits: Limits,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Coloured on a terminal, otherwise plain.
    Auto,
    /// Plain text.
    Human,
    /// A JSON object per line.
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
            content_key: None,
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
    /// Whether this node belongs to a cluster connected by a bus. Such a node needs given secrets, and creates no first token.
    pub fn is_cluster(&self) -> bool {
        self.nats_url.is_some()
    }

    /// The options for connecting to NATS, in a cluster.
    pub fn nats(&self) -> Option<NatsOptions> {
        let credentials = match (&self.nats_nkey_seed, &self.nats_credentials) {
            (Some(seed), _) => Credentials::Nkey(seed.clone()),
            (None, Some(file)) => Credentials::File(file.clone()),
            (None, None) => Credentials::Url,
        };
        Some(NatsOptions { url: self.nats_url.clone()?, credentials, tls: self.nats_tls.clone() })
    }

    /// The effective limits: without rate limits if those are off.
    pub fn limits_in_force(&self) -> Limits {
        let mut limits = self.limits.clone();
        if !self.rate_limit {
            limits.messages_per_second = 0;
            limits.reads_per_second = 0;
        }
        limits
    }

    /// Warnings about values that are valid but may be mistakes.
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

    /// The effective database.
    pub fn database(&self) -> DatabaseUrl {
        self.database_url.clone().unwrap_or_else(|| DatabaseUrl::sqlite(self.data_dir.join("chatsphere.db")))
    }
}

impl LogFormat {
    /// Its name in the settings.
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
