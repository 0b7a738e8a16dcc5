//! The table of settings: the only source for parsing, `--help`, `config check` and `docs/configuration.md`. The displayed
//! defaults come from [`Settings::default`].

use std::time::Duration;

use super::settings::Settings;
use super::values::{self, GIB, KIB, MIB, show_duration, show_list, show_path, show_size, show_switch};

/// One setting.
pub struct Setting {
    /// The key in `chatsphere.toml`, from which the flag and the variable derive.
    pub name: &'static str,
    /// Further variables: the names of the first version, and conventional ones.
    pub also: &'static [&'static str],
    /// The heading under which it is documented.
    pub group: Group,
    /// The placeholder of the value, in capitals.
    pub value: &'static str,
    /// The description.
    pub help: &'static str,
    /// The description of an unset value, if the default is not a value.
    unset: &'static str,
    /// Hidden, and without a flag, because all users of a machine see the flags of its processes.
    pub secret: bool,
    /// Also applies to commands that use only the database.
    pub administrative: bool,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> Option<String>,
}

/// The headings of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Listening and origins.
    Network,
    /// Files and database.
    Data,
    /// Tokens and secrets.
    Tokens,
    /// Operation.
    Running,
    /// Limits of clients.
    Limits,
}

impl Group {
    /// All groups, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Network, Self::Data, Self::Tokens, Self::Running, Self::Limits];

    /// The heading's text.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Data => "Data",
            Self::Tokens => "Secrets and tokens",
            Self::Running => "Running",
            Self::Limits => "Limits",
        }
    }
}

impl Setting {
    /// The flag, if there is one.
    pub fn flag(&self) -> Option<String> {
        (!self.secret).then(|| self.name.replace('_', "-"))
    }

    /// The variables, in order of precedence.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let own = format!("CHATSPHERE_{}", self.name.to_ascii_uppercase());
        std::iter::once(own).chain(self.also.iter().map(|name| (*name).to_owned()))
    }

    /// Parses and sets a value.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.set)(settings, text)
    }

    /// The current value as text; `set` in place of a secret.
    pub fn show(&self, settings: &Settings) -> String {
        match (self.show)(settings) {
            Some(_) if self.secret => "set".to_owned(),
            Some(value) => value,
            None => self.unset.to_owned(),
        }
    }

    const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }

    const fn unset(mut self, text: &'static str) -> Self {
        self.unset = text;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn administrative(mut self) -> Self {
        self.administrative = true;
        self
    }
}

/// The setting with this key.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Defines a setting by functions that set and show it. The shown value is `None` if unset.
macro_rules! setting {
    ($group:ident, $name:literal, $value:literal, $set:expr, $show:expr, $help:literal) => {
        Setting {
            name: $name,
            also: &[],
            group: Group::$group,
            value: $value,
            help: $help,
            unset: "",
            secret: false,
            administrative: false,
            set: $set,
            show: $show,
        }
    };
}

/// Defines a setting whose field holds the parsed value.
macro_rules! field {
    ($group:ident, $name:literal, $value:literal, $($field:ident).+, $parse:expr, $show:expr, $help:literal) => {
        setting!($group, $name, $value, |settings, text| {
            settings.$($field).+ = $parse(text)?;
            Ok(())
        }, $show, $help)
    };
}

/// Defines a setting whose field always has a value.
macro_rules! value {
    ($group:ident, $name:literal, $value:literal, $($field:ident).+, $parse:expr, $show:expr, $help:literal) => {
        field!($group, $name, $value, $($field).+, $parse, |settings| Some($show(&settings.$($field).+)), $help)
    };
}

/// Defines a setting whose field is an `Option`.
macro_rules! option {
    ($group:ident, $name:literal, $value:literal, $($field:ident).+, $parse:expr, $show:expr, $help:literal) => {
        setting!(
            $group,
            $name,
            $value,
            |settings, text| {
                settings.$($field).+ = Some($parse(text)?);
                Ok(())
            },
            |settings| settings.$($field).+.as_ref().map($show),
            $help
        )
    };
}

/// Defines a number.
macro_rules! number {
    ($group:ident, $name:literal, $($field:ident).+, $range:expr, $help:literal) => {
        value!($group, $name, "NUMBER", $($field).+, |text| values::count(text, $range), ToString::to_string, $help)
    };
}

/// Defines a size in bytes.
macro_rules! bytes {
    ($group:ident, $name:literal, $($field:ident).+, $range:expr, $help:literal) => {
        value!($group, $name, "SIZE", $($field).+, |text| values::size(text, $range), |size: &usize| show_size(*size), $help)
    };
}

/// Defines a duration in seconds.
macro_rules! time {
    ($group:ident, $name:literal, $($field:ident).+, $range:expr, $help:literal) => {
        value!(
            $group,
            $name,
            "DURATION",
            $($field).+,
            |text| {
                let (from, to) = $range.into_inner();
                values::duration(text, Duration::from_secs(from)..=Duration::from_secs(to))
            },
            |duration: &Duration| show_duration(*duration),
            $help
        )
    };
}

/// Defines a switch.
macro_rules! switch {
    ($group:ident, $name:literal, $field:ident, $help:literal) => {
        value!($group, $name, "on|off", $field, values::switch, |on: &bool| show_switch(*on), $help)
    };
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const TEN_YEARS: u64 = 3_650 * DAY;
const HUNDRED_YEARS: u64 = 36_525 * DAY;

/// All settings, in the order of the documentation.
// One setting after the other, each in a few lines, rather than one argument a line.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    value!(Network, "host", "ADDRESS", host, values::host, ToString::to_string,
        "The address to listen on. 127.0.0.1 accepts only this machine; 0.0.0.0 (or :: with IPv6) accepts others: use it \
         with TLS or behind a proxy"),
    value!(Network, "port", "PORT", port, values::port, ToString::to_string,
        "The port to listen on; 0 picks a free one, shown in the banner and the log")
        .also(&["PORT"]),
    option!(Network, "tls_cert", "FILE", tls_cert, values::path, |path| show_path(path),
        "The PEM file with the certificate chain. Needs tls_key; both are reloaded at SIGHUP")
        .unset("none: plain HTTP, for this machine or a proxy in front"),
    option!(Network, "tls_key", "FILE", tls_key, values::path, |path| show_path(path),
        "The PEM file with the certificate's private key")
        .unset("none"),
    field!(Network, "trusted_proxies", "NETWORKS", trusted_proxies, values::networks,
        |settings| show_list(&settings.trusted_proxies),
        "The proxies whose X-Forwarded-For is trusted, as comma-separated addresses or networks (10.0.0.0/8)")
        .unset("none: X-Forwarded-For is ignored"),
    field!(Network, "allowed_origins", "ORIGINS", allowed_origins, values::origins,
        |settings| settings.allowed_origins.as_deref().and_then(show_list),
        "The origins from which browsers may call (CORS and WebSocket), such as https://chat.example.com, \
         comma-separated; * is any")
        .unset("any: no cookie is ever read"),
    value!(Data, "data_dir", "DIRECTORY", data_dir, values::path, |path: &std::path::PathBuf| show_path(path),
        "The directory of the node's database, secrets and first token. One server at a time")
        .administrative(),
    switch!(Data, "trust_group", trust_group,
        "Whether a group that this process is in may write to the data directory and the database, as on a volume that \
         Kubernetes gives to an fsGroup. The members of the group are then trusted with everything. Files that all users \
         can write to are refused in any case")
        .administrative(),
    option!(Data, "database_url", "URL", database_url, values::database, ToString::to_string,
        "The database: sqlite:<path of a file> or postgresql://user:password@host:5432/database. A URL with a \
         password belongs in the variable or a file: all users of a machine see the flags of its processes")
        .also(&["DATABASE_URL"])
        .unset("SQLite, in chatsphere.db in the data directory")
        .administrative(),
    option!(Data, "database_readers", "NUMBER", database_readers, |text| values::count(text, 1..=256), ToString::to_string,
        "Concurrent reads, each on a connection of its own")
        .unset("4 on SQLite, 16 on PostgreSQL"),
    number!(Data, "queue_writes", queue.writes, 1..=10_000_000,
        "Maximum number of writes queued for the database; beyond it the answer is 503"),
    bytes!(Data, "queue_bytes", queue.bytes, MIB..=64 * GIB,
        "Maximum memory of the writes queued for the database; beyond it the answer is 503"),
    option!(Data, "min_free_disk", "SIZE", min_free_disk,
        |text| values::size(text, 0..=64 * 1024 * GIB), |size| show_size(*size),
        "On SQLite, the disk space to keep free. Below it, writes that let the database grow get 503 disk_full; revoking \
         tokens, disabling users and removing members still work. 0 switches it off")
        .unset("64MiB, or an eighth of a smaller file system"),
    bytes!(Data, "user_bytes_per_day", user_bytes_per_day, 0..=64 * 1024 * GIB,
        "Maximum bytes that a user stores a day (UTC), over all nodes; beyond it the answer is 429 quota_exceeded. 0 is no \
         limit. Messages count for their author; those that a CLIENT token posts in its own name do not count"),
    option!(Tokens, "jwt_secret", "SECRET", jwt_secret, values::secret, |_| String::new(),
        "Signs USER tokens. At least 32 bytes: openssl rand -hex 32. All nodes on one database need the same")
        .also(&["JWT_SECRET"])
        .unset("generated on the first start, stored in the data directory")
        .secret()
        .administrative(),
    option!(Tokens, "jwt_api_secret", "SECRET", jwt_api_secret, values::secret, |_| String::new(),
        "Signs CLIENT tokens; see jwt_secret")
        .also(&["JWT_API_SECRET"])
        .unset("generated on the first start, stored in the data directory")
        .secret()
        .administrative(),
    option!(Tokens, "jwt_secret_previous", "SECRET", jwt_secret_previous, values::secret, |_| String::new(),
        "The previous jwt_secret, whose tokens stay valid until they expire")
        .also(&["JWT_SECRET_PREVIOUS"])
        .unset("none")
        .secret()
        .administrative(),
    option!(Tokens, "jwt_api_secret_previous", "SECRET", jwt_api_secret_previous, values::secret, |_| String::new(),
        "The previous jwt_api_secret, whose tokens stay valid until they expire")
        .also(&["JWT_API_SECRET_PREVIOUS"])
        .unset("none")
        .secret()
        .administrative(),
    option!(Tokens, "content_key", "SECRET", content_key, values::secret, |_| String::new(),
        "The key of hashes of contents. At least 32 bytes: openssl rand -hex 32. All nodes on one database need the same, and \
         it never changes")
        .unset("generated on the first start, stored in the data directory")
        .secret()
        .administrative(),
    setting!(Tokens, "jwt_expires_in", "DURATION",
        |settings, text| {
            let bounds = Duration::from_secs(1)..=Duration::from_secs(HUNDRED_YEARS);
            (settings.lifetimes.user, settings.jwt_expires_in_has_no_unit) = values::lifetime(text, bounds)?;
            Ok(())
        },
        |settings| Some(show_duration(settings.lifetimes.user)),
        "Default lifetime of USER tokens. Also accepts the forms of the Node.js version: 2 days, 1.5h, 1y; a bare number \
         is seconds")
        .also(&["JWT_EXPIRES_IN"])
        .administrative(),
    time!(Tokens, "client_expires_in", lifetimes.client, 1..=TEN_YEARS,
        "Default lifetime of CLIENT tokens")
        .administrative(),
    option!(Running, "nats_url", "URL", nats_url, values::nats, |_| String::new(),
        "Makes this node part of a cluster whose nodes exchange events over NATS; needs PostgreSQL and all secrets. \
         Several servers are comma-separated. nats://user:password@host:4222, nats://token@host, tls://host; \
         special characters percent-encoded")
        .also(&["NATS_URL"])
        .unset("none")
        .secret()
        .administrative(),
    option!(Running, "nats_nkey_seed", "SEED", nats_nkey_seed, values::nkey, |_| String::new(),
        "Authenticates this node to NATS, instead of a user in nats_url: the seed of an nkey, as `nk -gen user` writes it")
        .unset("none")
        .secret(),
    option!(Running, "nats_credentials", "FILE", nats_credentials, values::path, |path| show_path(path),
        "Authenticates this node to NATS, instead of a user in nats_url: a file with a JWT and its seed, as nsc writes it")
        .unset("none"),
    option!(Running, "nats_tls_ca", "FILE", nats_tls.authorities, values::path, |path| show_path(path),
        "The PEM file with the authorities trusted for NATS. Requires TLS, whatever the scheme of nats_url")
        .unset("those of the system"),
    option!(Running, "nats_tls_cert", "FILE", nats_tls.certificate, values::path, |path| show_path(path),
        "The PEM file with this node's certificate for NATS. Needs nats_tls_key, and requires TLS")
        .unset("none"),
    option!(Running, "nats_tls_key", "FILE", nats_tls.key, values::path, |path| show_path(path),
        "The PEM file with the private key of nats_tls_cert")
        .unset("none"),
    switch!(Running, "demo", demo, "Whether the demo, a small chat in the browser, is enabled"),
    option!(Running, "metrics_token", "SECRET", metrics_token, values::secret, |_| String::new(),
        "A bearer token that allows reading /metrics and nothing else. At least 32 bytes: openssl rand -hex 32")
        .unset("none: /metrics needs a CLIENT token, or an ADMIN's")
        .secret(),
    switch!(Running, "metrics_public", metrics_public,
        "Whether anyone who reaches this server may read /metrics, without a token"),
    value!(Running, "log", "FILTER", log, values::log_filter, Clone::clone,
        "Which log lines are written: error, warn, info, debug, trace, or a filter such as info,chatsphere=debug")
        .also(&["RUST_LOG"])
        .administrative(),
    value!(Running, "log_format", "FORMAT", log_format, values::log_format,
        |format: &super::settings::LogFormat| format.as_str().to_owned(),
        "auto: coloured on a terminal, plain text elsewhere; human: plain text; json: a JSON object per line. Always to \
         standard error")
        .administrative(),
    time!(Running, "shutdown_timeout", shutdown_timeout, 1..=HOUR,
        "How long a shutdown waits for requests in progress and for the last writes"),
    bytes!(Limits, "message_bytes", limits.message_bytes, 1..=16 * MIB, "Longest message content, in bytes of UTF-8"),
    number!(Limits, "message_versions", limits.message_versions, 1..=1_000,
        "Versions of a message that are kept; an edit erases the oldest beyond them"),
    number!(Limits, "username_chars", limits.username_chars, 1..=1_000, "Longest username, in characters"),
    number!(Limits, "room_name_chars", limits.room_name_chars, 1..=1_000, "Longest room name, in characters"),
    bytes!(Limits, "ref_bytes", limits.ref_bytes, 1..=KIB, "Longest ref of a WebSocket frame, in bytes"),
    bytes!(Limits, "client_message_id_bytes", limits.client_message_id_bytes, 1..=KIB, "Longest clientMessageId, in bytes"),
    bytes!(Limits, "idempotency_key_bytes", limits.idempotency_key_bytes, 1..=KIB, "Longest Idempotency-Key, in bytes"),
    bytes!(Limits, "frame_bytes", limits.frame_bytes, KIB..=64 * MIB, "Largest WebSocket frame, in bytes"),
    bytes!(Limits, "body_bytes", limits.body_bytes, KIB..=64 * MIB, "Largest HTTP body, in bytes"),
    number!(Limits, "rooms_per_connection", limits.rooms_per_connection, 1..=1_000_000, "Rooms that one connection may join"),
    number!(Limits, "connections_per_user", limits.connections_per_user, 1..=10_000_000,
        "Connections that one user may hold on one node"),
    bytes!(Limits, "outbound_queue_bytes", limits.outbound_queue_bytes, 64 * KIB..=GIB,
        "Maximum bytes queued for one slow connection; beyond it the connection is closed with 4008"),
    number!(Limits, "messages_per_second", limits.messages_per_second, 0..=1_000_000,
        "Sustained rate of a user's messages, per second; 0 is no limit"),
    number!(Limits, "message_burst", limits.message_burst, 1..=1_000_000, "Messages a user may send in a burst"),
    number!(Limits, "reads_per_second", limits.reads_per_second, 0..=1_000_000,
        "Sustained rate of a user's reads over REST, per second; 0 is no limit. CLIENT tokens are exempt"),
    number!(Limits, "read_burst", limits.read_burst, 1..=1_000_000, "Reads a user may make in a burst"),
    switch!(Limits, "rate_limit", rate_limit, "off disables messages_per_second and reads_per_second, for measurements"),
    number!(Limits, "calls_per_user", limits.calls_per_user, 1..=1_000_000,
        "Maximum number of one user's concurrent REST calls on one node, until their answers were read. CLIENT tokens \
         are exempt"),
    bytes!(Limits, "answer_bytes", limits.answer_bytes, MIB..=64 * GIB,
        "Maximum memory of answers and replays that are encoded but not sent; beyond it the answer is 503"),
    bytes!(Limits, "answer_bytes_per_user", limits.answer_bytes_per_user, 64 * KIB..=64 * GIB,
        "The same for one user. CLIENT tokens are exempt"),
    bytes!(Limits, "outbound_bytes_per_user", limits.outbound_bytes_per_user, 64 * KIB..=64 * GIB,
        "Maximum bytes queued for all connections of one user on one node; beyond it the connection that adds to them is \
         closed with 4008"),
    number!(Limits, "unanswered_sends", limits.unanswered_sends, 1..=100_000,
        "Maximum number of unacknowledged messages of a connection; while it has as many, it is not read. A connection that \
         sends more nevertheless gets half as many for a second"),
    number!(Limits, "replay_events", limits.replay_events, 1..=10_000_000,
        "Maximum number of events that a join with since replays"),
    number!(Limits, "page_default", limits.page_default, 1..=10_000,
        "Messages sent for a join without since, and the default page of a list"),
    number!(Limits, "page_max", limits.page_max, 1..=10_000, "Largest page of a list"),
    number!(Limits, "pins_per_room", limits.pins_per_room, 1..=10_000, "Messages that may be pinned in a room at a time"),
    time!(Limits, "header_timeout", limits.header_timeout, 1..=HOUR, "Longest time for the head of an HTTP request to arrive"),
    time!(Limits, "idle_timeout", limits.idle_timeout, 1..=DAY, "Longest time that an HTTP connection may be idle"),
    time!(Limits, "heartbeat", limits.heartbeat, 1..=HOUR, "Time between the server's pings on a WebSocket"),
    number!(Limits, "connections", limits.connections, 1..=10_000_000,
        "Connections of all kinds that one node accepts. Needs as many file descriptors: ulimit -n"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chatsphere_core::Limits;

    use super::*;

    #[test]
    fn no_two_settings_share_a_name() {
        let mut seen = HashSet::new();
        for name in SETTINGS.iter().flat_map(|setting| setting.variables().chain([setting.name.to_owned()])) {
            assert!(seen.insert(name.clone()), "{name}");
        }
    }

    #[test]
    fn every_limit_is_a_setting() {
        let fields = format!("{:?}", Limits::default()).matches(": ").count();
        let settings = SETTINGS.iter().filter(|setting| setting.group == Group::Limits && setting.name != "rate_limit");
        assert_eq!(settings.count(), fields);
    }

    /// Every shown default parses to itself, so the documented defaults are the defaults.
    #[test]
    fn defaults_are_read_as_they_are_shown() {
        let defaults = Settings::default();
        for setting in SETTINGS {
            let Some(text) = (setting.show)(&defaults) else {
                assert!(!setting.unset.is_empty(), "{} has neither a default nor a text for none", setting.name);
                continue;
            };
            let mut read = Settings::default();
            assert_eq!(setting.set(&mut read, &text), Ok(()), "{}", setting.name);
            assert_eq!(format!("{read:?}"), format!("{defaults:?}"), "{}", setting.name);
        }
    }

    #[test]
    fn each_setting_sets_its_own_field() {
        let defaults = format!("{:?}", Settings::default());
        let mut seen = HashSet::new();
        for setting in SETTINGS {
            let example = match (setting.value, setting.name) {
                ("NUMBER" | "PORT", _) => "7",
                ("SIZE", "queue_bytes" | "answer_bytes") => "3MiB",
                ("SIZE", "ref_bytes" | "client_message_id_bytes" | "idempotency_key_bytes") => "7",
                ("SIZE", _) => "65537",
                ("DURATION", _) => "77s",
                ("on|off", "metrics_public" | "trust_group") => "on",
                ("on|off", _) => "off",
                ("SECRET", _) => "0123456789abcdef0123456789abcdef",
                ("FILE" | "DIRECTORY", _) => "/elsewhere",
                ("SEED", _) => "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM",
                ("ADDRESS", _) => "0.0.0.0",
                ("URL", "database_url") => "sqlite:x.db",
                ("URL", _) => "nats://bus",
                ("FILTER", _) => "debug",
                ("FORMAT", _) => "json",
                ("NETWORKS", _) => "10.0.0.0/8",
                ("ORIGINS", _) => "https://a.example",
                (value, name) => panic!("{name} {value}"),
            };
            let mut settings = Settings::default();
            assert_eq!(setting.set(&mut settings, example), Ok(()), "{}", setting.name);
            let changed = format!("{settings:?}");
            assert_ne!(changed, defaults, "{}", setting.name);
            assert!(seen.insert(changed), "{} sets the field of another", setting.name);
            assert!(!setting.show(&settings).is_empty(), "{}", setting.name);
        }
    }
}
