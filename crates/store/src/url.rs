//! The URL of a database: `sqlite:<path>` or `postgresql://…`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The URL of a database. Neither `Display` nor `Debug` shows a password.
#[derive(Clone)]
pub struct DatabaseUrl(Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Sqlite(PathBuf),
    Postgres(Box<PostgresUrl>),
}

/// The location of a PostgreSQL database, and how to connect to it.
#[derive(Clone)]
pub(crate) struct PostgresUrl {
    pub(crate) config: Config,
    pub(crate) verify: Verify,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) schema: Option<String>,
    /// The parameters of Prisma that have no effect here.
    pub(crate) ignored: Vec<&'static str>,
}

/// Parameters of Prisma that have no effect here: those of its pool, its time-outs, its cache.
const PRISMAS_OWN: &[&str] = &[
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
    "single_use_connections",
];

/// How the server's certificate is verified. The words and their meanings are libpq's, so that a URL that works with `psql`
/// works here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// No verification: `prefer`, and `require` without `sslrootcert`.
    Nothing,
    /// A trusted authority must have signed it: `verify-ca`, and `require` with `sslrootcert`.
    Authority,
    /// It must also name the host: `verify-full`.
    Host,
}

/// The text is not the URL of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}\nwrite sqlite:<path of a file> or postgresql://user:password@host:5432/database")]
pub struct InvalidUrl(String);

impl DatabaseUrl {
    /// Makes the URL of a SQLite database in this file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Sqlite(path.into()))
    }

    /// Whether the database is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.sqlite_path().is_some()
    }

    /// Returns the path of SQLite's file; `None` for PostgreSQL.
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
            // Other programs write `sqlite://relative` and `sqlite:///absolute`.
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

/// Rejects a URL of any scheme in which the end of the password is ambiguous, because a part of the password could be taken for
/// a host's name, and shown. RFC 3986, section 3.2.1, requires percent-encoding in it.
///
/// # Errors
/// What to do. The error repeats nothing of the URL.
fn check_password_is_encoded(text: &str) -> Result<(), &'static str> {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (authority, rest) = after_scheme.split_at(end);
    if authority.matches('@').count() > 1 || rest.contains('@') {
        return Err("it has an @ where none may stand: percent-encode the password, and the name of the user \
                    (@ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25)");
    }
    Ok(())
}

/// Removes from the query what the driver does not know, and parses the rest with the driver.
fn postgres(text: &str) -> Result<PostgresUrl, InvalidUrl> {
    check_password_is_encoded(text).map_err(|reason| InvalidUrl(format!("the database URL can't be read: {reason}")))?;
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let mut for_the_driver = Vec::new();
    let (mut sslmode, mut root_certificates, mut schema) = ("prefer".to_owned(), None, None);
    let (mut strict, mut ignored, mut host_given, mut port_given) = (false, Vec::new(), false, false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => sslmode = decode(value)?,
            "sslrootcert" => root_certificates = Some(PathBuf::from(decode(value)?)),
            "schema" => schema = Some(checked_schema(decode(value)?)?),
            "sslaccept" => strict = sslaccept(&decode(value)?)?,
            "target_session_attrs" => check_session(&decode(value)?)?,
            "sslcert" | "sslkey" | "sslpassword" | "sslidentity" | "sslcrl" => return Err(client_certificate(name)),
            _ => match PRISMAS_OWN.iter().find(|own| **own == name) {
                Some(own) => ignored.push(*own),
                None => {
                    host_given |= name == "host" || name == "hostaddr";
                    port_given |= name == "port";
                    for_the_driver.push(pair);
                }
            },
        }
    }
    let mut config: Config = match for_the_driver.is_empty() {
        true => base.parse(),
        false => format!("{base}?{}", for_the_driver.join("&")).parse(),
    }
    // The driver's error may quote the text with the password, so only its kind is reported.
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
    // Prisma's `strict` is libpq's `verify-full`, except that the connection may be without TLS.
    let verify = if strict && verify == Verify::Nothing { Verify::Host } else { verify };
    if host_given || port_given {
        config = override_place(&config, base, port_given);
    }
    let (hosts, addresses, ports) = (config.get_hosts().len(), config.get_hostaddrs().len(), config.get_ports().len());
    if ports > 1 && ports != hosts.max(addresses) || hosts > 0 && addresses > 0 && hosts != addresses {
        return Err(InvalidUrl("the database URL must name as many ports as hosts, and as many addresses".to_owned()));
    }
    Ok(PostgresUrl { config, verify, root_certificates, schema, ignored })
}

/// A host or port in the parameters overrides the one before them, as with libpq and Prisma.
fn override_place(config: &Config, base: &str, port_given: bool) -> Config {
    let before: Config = base.parse().unwrap_or_default();
    let skipped = |all: usize, before: usize, given: bool| if given { before.min(all) } else { 0 };
    let hosts = config.get_hosts();
    let mut overriding = without_hosts(config);
    for host in &hosts[skipped(hosts.len(), before.get_hosts().len(), hosts.len() > before.get_hosts().len())..] {
        put_host(&mut overriding, host);
    }
    for address in config.get_hostaddrs() {
        overriding.hostaddr(*address);
    }
    for port in &config.get_ports()[skipped(config.get_ports().len(), before.get_ports().len(), port_given)..] {
        overriding.port(*port);
    }
    overriding
}

impl PostgresUrl {
    /// Returns a configuration for each server, in their order.
    pub(crate) fn servers(&self) -> Vec<Config> {
        let config = &self.config;
        let count = config.get_hosts().len().max(config.get_hostaddrs().len());
        (0..count)
            .map(|index| {
                let mut one = without_hosts(config);
                if let Some(host) = config.get_hosts().get(index) {
                    put_host(&mut one, host);
                }
                if let Some(address) = config.get_hostaddrs().get(index) {
                    one.hostaddr(*address);
                }
                if let Some(port) = config.get_ports().get(index).or_else(|| config.get_ports().first()) {
                    one.port(*port);
                }
                one
            })
            .collect()
    }
}

fn put_host(config: &mut Config, host: &Host) {
    match host {
        Host::Tcp(name) => config.host(name),
        #[cfg(unix)]
        Host::Unix(path) => config.host_path(path),
    };
}

/// Returns the configuration without hosts and ports, which the driver can't remove.
fn without_hosts(config: &Config) -> Config {
    let mut bare = Config::new();
    if let Some(user) = config.get_user() {
        bare.user(user);
    }
    if let Some(password) = config.get_password() {
        bare.password(password);
    }
    if let Some(name) = config.get_dbname() {
        bare.dbname(name);
    }
    if let Some(options) = config.get_options() {
        bare.options(options);
    }
    if let Some(name) = config.get_application_name() {
        bare.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        bare.connect_timeout(*timeout);
    }
    bare.ssl_mode(config.get_ssl_mode());
    bare.ssl_negotiation(config.get_ssl_negotiation());
    bare.channel_binding(config.get_channel_binding());
    bare.keepalives(config.get_keepalives());
    bare
}

/// Checks `target_session_attrs`. Of several servers this program always uses the one that accepts writes, whatever the
/// parameter says.
fn check_session(wanted: &str) -> Result<(), InvalidUrl> {
    match wanted {
        "any" | "read-write" | "primary" => Ok(()),
        "read-only" | "standby" | "prefer-standby" => Err(InvalidUrl(format!(
            "target_session_attrs={wanted} asks for a server that takes no writes; it must be read-write"
        ))),
        _ => Err(InvalidUrl("target_session_attrs must be read-write".to_owned())),
    }
}

/// Parses Prisma's word for how the server's certificate is verified.
fn sslaccept(word: &str) -> Result<bool, InvalidUrl> {
    match word {
        "strict" => Ok(true),
        "accept_invalid_certs" => Ok(false),
        _ => Err(InvalidUrl("sslaccept must be strict or accept_invalid_certs".to_owned())),
    }
}

fn client_certificate(name: &str) -> InvalidUrl {
    InvalidUrl(format!(
        "{name} in the database URL is not supported: the server signs in with a password, not with a certificate. \
         The authority that signed PostgreSQL's certificate is named with sslrootcert, and sslmode=verify-full checks it"
    ))
}

/// Options of libpq and of other drivers that this program does not support.
const KNOWN_ELSEWHERE: &[&str] = &[
    "passfile",
    "require_auth",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslcompression",
    "sslsni",
    "requirepeer",
    "requiressl",
    "krbsrvname",
    "gsslib",
    "gssencmode",
    "gssdelegation",
    "service",
    "replication",
    "client_encoding",
    "fallback_application_name",
    "min_protocol_version",
    "max_protocol_version",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "sslaccept",
    "sslidentity",
    "search_path",
    "ssl",
    "timezone",
];

fn cause(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    // The name of an unknown option is shown only if other programs know it. Any other text may be a part of a password.
    let option = source.strip_prefix("unknown option").map(|name| name.trim_matches([' ', '`', '"', '\'']));
    match option.filter(|name| KNOWN_ELSEWHERE.contains(name)) {
        Some(name) => format!("the option {name} is not known here"),
        None if option.is_some() => "it has an option that is not known here".to_owned(),
        None => "it is malformed; special characters in a password are percent-encoded".to_owned(),
    }
}

fn checked_schema(name: String) -> Result<String, InvalidUrl> {
    let fits = !name.is_empty() && name.len() <= 63 && !name.contains('\0');
    if fits { Ok(name) } else { Err(InvalidUrl("schema must have 1 to 63 bytes".to_owned())) }
}

/// Decodes percent-encoding (RFC 3986, section 2.1).
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

/// Builds the URL from its harmless parts, so that no spelling of a password can be shown.
fn show_postgres(config: &Config, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("postgresql://")?;
    if let Some(user) = config.get_user() {
        write!(f, "{}{}@", plain(user), if config.get_password().is_some() { ":***" } else { "" })?;
    }
    for (index, host) in config.get_hosts().iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        match host {
            Host::Tcp(name) => write!(f, "{comma}{}", plain(name))?,
            #[cfg(unix)]
            Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
        }
        if let Some(port) = config.get_ports().get(index).or_else(|| config.get_ports().first()) {
            write!(f, ":{port}")?;
        }
    }
    write!(f, "/{}", plain(config.get_dbname().unwrap_or_default()))
}

/// Returns a name if it looks like the name of a user, a host or a database. Any other text may be a part of a password that
/// was written in the wrong place.
fn plain(name: &str) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.+ %[]:".contains(c);
    // A colon is allowed only in an IPv6 address.
    let is_address = || name.parse::<std::net::IpAddr>().is_ok();
    if name.chars().all(is_plain) && (!name.contains(':') || is_address()) { name } else { "***" }
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
    fn sqlite_paths_in_common_spellings_are_accepted() {
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
    fn other_texts_are_refused() {
        for text in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "mysql://a/b",
            "postgres:a",
            "postgresql://a/b?x=y",
            "postgresql://a/b?sslmode=x",
            "postgresql://a,c/b?target_session_attrs=standby",
            "postgresql://a,c/b?target_session_attrs=x",
            "postgresql://a,c,d/b?port=3,4",
            "postgresql://a/b?schema=",
            "postgresql://a/b?sslaccept=perhaps",
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
    fn prismas_parameters_are_accepted() {
        let url = postgres_url(
            "postgresql://u:p@h:6432/d?schema=my-schema&connection_limit=5&pool_timeout=0&pgbouncer=true&connect_timeout=7\
             &socket_timeout=3&statement_cache_size=0&sslmode=prefer&application_name=chat",
        );
        assert_eq!(url.schema.as_deref(), Some("my-schema"));
        let ignored = ["connection_limit", "pool_timeout", "pgbouncer", "socket_timeout", "statement_cache_size"];
        assert_eq!(url.ignored, ignored);
        assert_eq!(url.config.get_connect_timeout(), Some(&std::time::Duration::from_secs(7)));
        for name in ["sslcert", "sslidentity", "sslpassword", "sslkey"] {
            let error = format!("postgresql://u:p@h/d?{name}=s3cret").parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("sslrootcert") && !error.contains("s3cret"), "{error}");
        }
        // As Cloud SQL documents it: the host before the parameters is a placeholder.
        let socket = postgres_url("postgresql://u:p@localhost/d?host=/cloudsql/a:b:c&schema=public");
        assert_eq!(socket.config.get_hosts(), [Host::Unix("/cloudsql/a:b:c".into())]);
        assert_eq!(socket.servers().len(), 1);
    }

    #[test]
    fn each_server_has_a_configuration_of_its_own() {
        let url = postgres_url("postgresql://u:p@a:1,b:2,c:3/d?target_session_attrs=read-write&sslmode=require");
        let servers: Vec<_> =
            url.servers().iter().map(|server| (server.get_hosts().to_vec(), server.get_ports().to_vec())).collect();
        let host = |name: &str| vec![Host::Tcp(name.to_owned())];
        assert_eq!(servers, [(host("a"), vec![1]), (host("b"), vec![2]), (host("c"), vec![3])]);
        for server in url.servers() {
            assert_eq!((server.get_user(), server.get_dbname()), (Some("u"), Some("d")));
            assert_eq!((server.get_password(), server.get_ssl_mode()), (Some(&b"p"[..]), SslMode::Require));
        }
        assert_eq!(postgres_url("postgresql://a,b/d").servers().len(), 2);
        assert_eq!(postgres_url("postgresql://a,b/d?port=7").servers()[1].get_ports(), [7]);
    }

    #[test]
    fn the_end_of_a_password_must_be_unambiguous() {
        for bad in [
            "postgresql://u:a@S3CRET@h/db",
            "postgresql://u:a@S3CRET:b@h:5432/db",
            "postgresql://u:a/S3CRET@h/db",
            "postgresql://u:12/S3CRET@h/db",
            "postgresql://u:a@b/S3CRET@h/db",
            "postgresql://u:a?S3CRET@h/db",
            "postgresql://u:12?S3CRET=x@h/db",
            "postgresql://u:a@b?S3CRET@h/db",
            "postgresql://u:a@b?user=S3CRET@h/db",
            "postgresql://u:a#S3CRET/@h/db",
            "postgresql://u:12#S3CRET?x@h/db",
            "postgresql://S3CRET@a@h/db",
            "postgres://u:a@S3CRET@h,other/db?sslmode=require",
        ] {
            let error = bad.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(error.contains("percent-encode") && !error.contains("S3CRET"), "{bad}: {error}");
        }
        // The error repeats nothing of the URL.
        for bad in [
            "host=h user=u password=S3CRET dbname=d",
            "jdbc:postgresql://u:S3CRET@h/d",
            "\"postgresql://u:S3CRET@h/d\"",
            "postgresql://u:S3CRET/d",
            "postgresql://u:%S3CRET@h/d",
            "postgresql://u:a@h/d?S3CRET",
            "postgresql://u:a@h/d?S3CRET=1",
            "postgresql://u:a@h/d?sslmode=S3CRET",
            "postgresql://u:a@h/d?connect_timeout=S3CRET",
            "postgresql://u:a@h:S3CRET/d",
        ] {
            let told = bad.parse::<DatabaseUrl>().map_or_else(|error| error.to_string(), |url| format!("{url} {url:?}"));
            assert!(!told.contains("S3CRET"), "{bad}: {told}");
        }
        let told = "postgresql://u@h/d?sslcert=x".parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(told.contains("sslcert"), "{told}");
        for (good, password) in [
            ("postgresql://u:a%40S3CRET@h/db", "a@S3CRET"),
            ("postgresql://u:a%2FS3CRET%3F%23%3A@h/db", "a/S3CRET?#:"),
            ("postgresql://u:a:S3CRET@h/db", "a:S3CRET"),
            ("postgresql://u:a,S3CRET@h/db", "a,S3CRET"),
        ] {
            let url = postgres_url(good);
            assert_eq!(url.config.get_password(), Some(password.as_bytes()), "{good}");
            let shown = format!("{0} {0:?}", good.parse::<DatabaseUrl>().unwrap());
            assert!(!shown.contains("S3CRET"), "{shown}");
        }
        // If it is encoded in the wrong place, it is a part of the name.
        for odd in ["postgresql://u%3AS3CRET@h/db", "postgresql://u:a@h/db%40S3CRET", "postgresql://u:a@h%40S3CRET/db"] {
            if let Ok(url) = odd.parse::<DatabaseUrl>() {
                assert!(!format!("{url} {url:?}").contains("S3CRET"), "{url}");
            }
        }
        for (good, shown) in [
            ("postgresql://ada@db-1.example.com:5433/my_chat", "postgresql://ada@db-1.example.com:5433/my_chat"),
            ("postgresql://ada@10.0.0.1,10.0.0.2/chat", "postgresql://ada@10.0.0.1:5432,10.0.0.2:5432/chat"),
        ] {
            assert_eq!(good.parse::<DatabaseUrl>().unwrap().to_string().replace(":5432", ""), shown.replace(":5432", ""));
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
            ("?sslaccept=strict", SslMode::Prefer, Verify::Host),
            ("?sslmode=verify-ca&sslaccept=accept_invalid_certs", SslMode::Require, Verify::Authority),
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
