//! Which database: `sqlite:<path>` or `postgresql://…`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Which database. Neither `Display` nor `Debug` shows a password.
#[derive(Clone)]
pub struct DatabaseUrl(Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Sqlite(PathBuf),
    Postgres(Box<PostgresUrl>),
}

/// Where a PostgreSQL database is and how to get there.
#[derive(Clone)]
pub(crate) struct PostgresUrl {
    pub(crate) config: Config,
    pub(crate) verify: Verify,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) schema: Option<String>,
}

/// How far the server's certificate is checked. The words and their meanings are libpq's, so that a URL that works with
/// `psql` works here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Not at all: `prefer`, and `require` without `sslrootcert`.
    Nothing,
    /// That a trusted authority signed it: `verify-ca`, and `require` with `sslrootcert`.
    Authority,
    /// That, and that it names the host: `verify-full`.
    Host,
}

/// The text names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}\nwrite sqlite:<path of a file> or postgresql://user:password@host:5432/database")]
pub struct InvalidUrl(String);

impl DatabaseUrl {
    /// A SQLite database in this file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Sqlite(path.into()))
    }

    /// Whether it is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.sqlite_path().is_some()
    }

    /// SQLite's file.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            Kind::Postgres(_) => None,
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            // `sqlite://relative` and `sqlite:///absolute` are how other programs write it.
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            return match path {
                "" => Err(InvalidUrl("the path of the SQLite file is missing".to_owned())),
                ":memory:" => Err(InvalidUrl("a database in memory would forget everything".to_owned())),
                path => Ok(Self::sqlite(path)),
            };
        }
        if text.starts_with("postgresql://") || text.starts_with("postgres://") {
            return postgres(text).map(|url| Self(Kind::Postgres(Box::new(url))));
        }
        Err(InvalidUrl("the database URL begins with neither sqlite: nor postgresql://".to_owned()))
    }
}

/// Takes out of the query what the driver doesn't know, and leaves the rest to it.
fn postgres(text: &str) -> Result<PostgresUrl, InvalidUrl> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let mut for_the_driver = Vec::new();
    let (mut sslmode, mut root_certificates, mut schema) = ("prefer".to_owned(), None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => sslmode = decode(value)?,
            "sslrootcert" => root_certificates = Some(PathBuf::from(decode(value)?)),
            "schema" => schema = Some(checked_schema(decode(value)?)?),
            // The pool's size is a setting of its own here.
            "connection_limit" | "pool_timeout" => {}
            _ => for_the_driver.push(pair),
        }
    }
    let mut config: Config = match for_the_driver.is_empty() {
        true => base.parse(),
        false => format!("{base}?{}", for_the_driver.join("&")).parse(),
    }
    // The driver's error may quote the text, and with it the password: only its kind is told.
    .map_err(|error: tokio_postgres::Error| InvalidUrl(format!("the database URL can't be read: {}", cause(&error))))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(InvalidUrl("the database URL names no host".to_owned()));
    }
    let (mode, verify) = match (sslmode.as_str(), &root_certificates) {
        ("disable", _) => (SslMode::Disable, Verify::Nothing),
        ("allow" | "prefer", _) => (SslMode::Prefer, Verify::Nothing),
        ("require", None) => (SslMode::Require, Verify::Nothing),
        ("require", Some(_)) | ("verify-ca", _) => (SslMode::Require, Verify::Authority),
        ("verify-full", _) => (SslMode::Require, Verify::Host),
        _ => {
            let expected = "sslmode must be disable, prefer, require, verify-ca or verify-full";
            return Err(InvalidUrl(expected.to_owned()));
        }
    };
    config.ssl_mode(mode);
    Ok(PostgresUrl { config, verify, root_certificates, schema })
}

fn cause(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    // Of an unknown option the name is told, which never holds a secret; all else is only called malformed.
    if source.starts_with("unknown option") { source } else { "it is malformed".to_owned() }
}

fn checked_schema(name: String) -> Result<String, InvalidUrl> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { Ok(name) } else { Err(InvalidUrl("schema must consist of letters, digits and _".to_owned())) }
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn decode(value: &str) -> Result<String, InvalidUrl> {
    let invalid = || InvalidUrl("a % in the database URL's query is not followed by two hexadecimal digits".to_owned());
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(invalid);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| invalid())?);
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres(url) => show_postgres(&url.config, f),
        }
    }
}

/// Puts the URL together from its harmless parts, so that no way of writing a password can slip through.
fn show_postgres(config: &Config, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("postgresql://")?;
    if let Some(user) = config.get_user() {
        write!(f, "{user}{}@", if config.get_password().is_some() { ":***" } else { "" })?;
    }
    for (index, host) in config.get_hosts().iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        match host {
            Host::Tcp(name) => write!(f, "{comma}{name}")?,
            #[cfg(unix)]
            Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
        }
        if let Some(port) = config.get_ports().get(index).or_else(|| config.get_ports().first()) {
            write!(f, ":{port}")?;
        }
    }
    write!(f, "/{}", config.get_dbname().unwrap_or_default())
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres_url(text: &str) -> PostgresUrl {
        match text.parse::<DatabaseUrl>().unwrap().0 {
            Kind::Postgres(url) => *url,
            Kind::Sqlite(_) => panic!("{text}"),
        }
    }

    #[test]
    fn sqlite_paths_are_taken_as_people_write_them() {
        for (text, path) in [
            ("sqlite:chat.db", "chat.db"),
            ("sqlite:./a/chat.db", "./a/chat.db"),
            ("sqlite:/var/lib/chat.db", "/var/lib/chat.db"),
            ("sqlite:///var/lib/chat.db", "/var/lib/chat.db"),
            ("sqlite://chat.db?mode=rwc", "chat.db"),
        ] {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap().sqlite_path(), Some(Path::new(path)), "{text}");
        }
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for text in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "mysql://a/b",
            "postgres:a",
            "postgresql://a/b?x=y",
            "postgresql://a/b?sslmode=x",
        ] {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgresql://ada:s3cret@db.example:5433/chat?sslmode=require",
            "postgres://ada@db.example/chat?password=s3cret",
            "postgres://ada:s3cret@a,b/chat",
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert!(!format!("{url} {url:?}").contains("s3cret"), "{url}");
            assert!(url.to_string().starts_with("postgresql://ada:***@"), "{url}");
        }
        for bad in ["postgresql://ada:s3cret@db:notaport/x", "postgresql://ada:s3cret@db/x?s3=s3cret"] {
            let error = bad.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn sslmode_means_what_it_means_to_psql() {
        for (query, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            ("?sslmode=require&sslrootcert=%2Fca.pem", SslMode::Require, Verify::Authority),
            ("?sslmode=verify-ca&connect_timeout=3", SslMode::Require, Verify::Authority),
            ("?schema=public&sslmode=verify-full", SslMode::Require, Verify::Host),
        ] {
            let url = postgres_url(&format!("postgresql://u@h/d{query}"));
            assert_eq!((url.config.get_ssl_mode(), url.verify), (mode, verify), "{query}");
        }
        assert_eq!(
            postgres_url("postgresql://h/d?sslmode=require&sslrootcert=%2Fca.pem").root_certificates,
            Some("/ca.pem".into())
        );
    }
}
