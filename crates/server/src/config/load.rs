//! Merges all sources into one configuration: flag over environment over `.env` over `chatsphere.toml` over default.

use std::ffi::OsString;
use std::path::PathBuf;

use chatsphere_realtime::NatsUrl;

use super::place::{ConfigError, Mistake, Place};
use super::settings::Settings;
use super::sources::{self, Layer};
use super::table::{SETTINGS, Setting};

/// The file that is read by default.
const DEFAULT_FILE: &str = "chatsphere.toml";

/// The sources of the configuration.
#[derive(Debug)]
pub struct Sources {
    /// From the command line.
    pub flags: Vec<(&'static Setting, String)>,
    /// The configuration file named on the command line.
    pub config: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory of `.env` and `chatsphere.toml`; empty means the working directory.
    pub directory: PathBuf,
}

/// The merged configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The source of each setting, in the order of [`SETTINGS`].
    places: Vec<Place>,
}

impl Loaded {
    /// Each setting and the source of its value.
    pub fn origins(&self) -> impl Iterator<Item = (&'static Setting, &Place)> {
        SETTINGS.iter().zip(&self.places)
    }

    fn place(&self, name: &str) -> Place {
        self.origins().find(|(setting, _)| setting.name == name).map_or(Place::Default, |(_, place)| place.clone())
    }
}

/// Reads and checks all sources.
///
/// # Errors
/// All errors found.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    let flags = sources::flags(sources.flags);
    let environment = sources::environment(sources.environment);
    let dot_env = sources::dot_env(&sources.directory);
    let named = sources.config.or_else(|| environment.config.clone()).or_else(|| dot_env.config.clone());
    let file = match &named {
        Some(path) => sources::file(path, true),
        None => sources::file(&sources.directory.join(DEFAULT_FILE), false),
    };

    let mut loaded = Loaded { settings: Settings::default(), places: vec![Place::Default; SETTINGS.len()] };
    let mut mistakes = Vec::new();
    for layer in [file, dot_env, environment, flags] {
        mistakes.extend(apply(layer, &mut loaded));
    }
    if mistakes.is_empty() {
        mistakes.extend(check_together(&loaded));
    }
    if mistakes.is_empty() { Ok(loaded) } else { Err(ConfigError(mistakes)) }
}

/// Overridden values must be valid too: they may take effect later.
fn apply(layer: Layer, loaded: &mut Loaded) -> Vec<Mistake> {
    let mut mistakes = layer.mistakes;
    for written in layer.written {
        match written.setting.set(&mut loaded.settings, &written.text) {
            Ok(()) => {
                if let Some(index) = SETTINGS.iter().position(|setting| setting.name == written.setting.name)
                    && let Some(place) = loaded.places.get_mut(index)
                {
                    *place = written.place;
                }
            }
            Err(message) => mistakes.push(Mistake::new(written.place, message)),
        }
    }
    mistakes
}

/// Checks constraints between settings.
fn check_together(loaded: &Loaded) -> Vec<Mistake> {
    let settings = &loaded.settings;
    let limits = &settings.limits;
    let mut mistakes = Vec::new();
    let mut refuse = |name: &str, message: String| mistakes.push(Mistake::new(loaded.place(name), message));
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(_), None) => refuse("tls_cert", "tls_key, the certificate's private key, is not set".to_owned()),
        (None, Some(_)) => refuse("tls_key", "tls_cert, the certificate of this key, is not set".to_owned()),
        _ => {}
    }
    match (&settings.nats_tls.certificate, &settings.nats_tls.key) {
        (Some(_), None) => refuse("nats_tls_cert", "nats_tls_key, the certificate's private key, is not set".to_owned()),
        (None, Some(_)) => refuse("nats_tls_key", "nats_tls_cert, the certificate of this key, is not set".to_owned()),
        _ => {}
    }
    let logins = [
        ("nats_url", settings.nats_url.as_ref().is_some_and(NatsUrl::has_login)),
        ("nats_nkey_seed", settings.nats_nkey_seed.is_some()),
        ("nats_credentials", settings.nats_credentials.is_some()),
    ];
    if let [(first, _), (second, _), ..] = logins.into_iter().filter(|(_, given)| *given).collect::<Vec<_>>()[..] {
        refuse(second, format!("{first} tells NATS who this node is already: one of them is enough"));
    }
    for (name, value, most, of) in [
        ("page_default", limits.page_default, limits.page_max, "page_max"),
        ("message_bytes", limits.message_bytes, limits.frame_bytes, "frame_bytes"),
        ("message_bytes", limits.message_bytes, limits.body_bytes, "body_bytes"),
        ("frame_bytes", limits.frame_bytes, limits.outbound_queue_bytes, "outbound_queue_bytes"),
    ] {
        if value > most {
            // Report the setting that was changed from its default, which may be the other one.
            let place = if loaded.place(name) == Place::Default { of } else { name };
            refuse(place, format!("{name} is {value}, which is more than {of}: {most}"));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::table::setting;
    use super::*;

    struct Case {
        directory: TempDir,
        environment: Vec<(OsString, OsString)>,
        flags: Vec<(&'static Setting, String)>,
    }

    impl Case {
        fn new() -> Self {
            Self { directory: TempDir::new().unwrap(), environment: Vec::new(), flags: Vec::new() }
        }

        fn file(self, name: &str, text: &str) -> Self {
            std::fs::write(self.directory.path().join(name), text).unwrap();
            self
        }

        fn variable(mut self, name: &str, value: &str) -> Self {
            self.environment.push((name.into(), value.into()));
            self
        }

        fn flag(mut self, name: &str, value: &str) -> Self {
            self.flags.push((setting(name).unwrap(), value.to_owned()));
            self
        }

        fn load(self) -> Result<Loaded, ConfigError> {
            let directory = self.directory.path().to_owned();
            load(Sources { flags: self.flags, config: None, environment: self.environment, directory })
        }

        /// The errors, without the temporary directory's name.
        fn mistakes(self) -> Vec<String> {
            let directory = format!("{}/", self.directory.path().display());
            let ConfigError(mistakes) = self.load().unwrap_err();
            mistakes.iter().map(|mistake| mistake.to_string().replace(&directory, "")).collect()
        }
    }

    #[test]
    fn the_stronger_place_wins() {
        let toml = || Case::new().file("chatsphere.toml", "port = 1\n");
        let dot_env = || toml().file(".env", "PORT=2\n");
        let environment = || dot_env().variable("PORT", "3");
        let own_name = || environment().variable("CHATSPHERE_PORT", "4");
        let flag = || own_name().flag("port", "5");
        for (case, port) in [(Case::new(), 3001), (toml(), 1), (dot_env(), 2), (environment(), 3), (own_name(), 4), (flag(), 5)]
        {
            assert_eq!(case.load().unwrap().settings.port, port);
        }
        let case = Case::new().file(".env", "CHATSPHERE_PORT=2\n").variable("PORT", "3");
        assert_eq!(case.load().unwrap().settings.port, 3, "the real environment is stronger whatever the name");
    }

    #[test]
    fn where_a_value_comes_from_is_known() {
        let loaded = Case::new().file(".env", "# mine\nexport PORT=2\n").variable("JWT_EXPIRES_IN", "1d").load().unwrap();
        assert_eq!(loaded.place("port").to_string(), ".env:2: PORT");
        assert_eq!(loaded.place("jwt_expires_in").to_string(), "environment variable JWT_EXPIRES_IN");
        assert_eq!(loaded.place("host"), Place::Default);
    }

    #[test]
    fn toml_may_use_its_own_kinds_of_values() {
        let text = "port = 0x50\ndemo = false\nframe_bytes = 65_536\nallowed_origins = [\"https://a.example\", \
         \"https://b.example\"]\n";
        let settings = Case::new().file("chatsphere.toml", text).load().unwrap().settings;
        assert_eq!((settings.port, settings.demo, settings.limits.frame_bytes), (80, false, 65_536));
        assert_eq!(settings.allowed_origins.unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let case = Case::new()
            .file("chatsphere.toml", "host = \"127.0.0.1\"\n\nport = \"x\"\n")
            .file(".env", "A=b\nJWT_EXPIRES_IN=week\n")
            .variable("PORT", "70000")
            .flag("demo", "perhaps");
        assert_eq!(
            case.mistakes(),
            [
                "chatsphere.toml:3: port: \"x\" is not a port number (1 to 65535; 0 picks a free one)",
                ".env:2: JWT_EXPIRES_IN: \"week\" is not a length of time: it must be a number and a unit, such as 90s, 12h, \
                 7d, 2 days or 1y",
                "environment variable PORT: \"70000\" is not a port number (1 to 65535; 0 picks a free one)",
                "--demo: \"perhaps\" is neither on nor off",
            ]
        );
    }

    #[test]
    fn names_that_do_not_exist_are_refused_with_the_nearest() {
        let case = Case::new()
            .file("chatsphere.toml", "prot = 1\n[limits]\nx = 1\n")
            .variable("CHATSPHERE_DATADIR", "x")
            .variable("CHATSPHERE_TEST_ALL", "1");
        assert_eq!(
            case.mistakes(),
            [
                "chatsphere.toml:2: limits: there is no such setting; `chatsphere config docs` lists all",
                "chatsphere.toml:1: prot: there is no such setting; did you mean port?",
                "environment variable CHATSPHERE_DATADIR: there is no such setting; did you mean CHATSPHERE_DATA_DIR?",
            ]
        );
    }

    #[test]
    fn what_kubernetes_sets_is_not_taken_for_settings() {
        let case = Case::new()
            .variable("CHATSPHERE_PORT", "tcp://10.96.0.7:3001")
            .variable("CHATSPHERE_SERVICE_HOST", "10.96.0.7")
            .variable("CHATSPHERE_SERVICE_PORT_HTTP", "3001")
            .variable("CHATSPHERE_PORT_3001_TCP_ADDR", "10.96.0.7");
        assert_eq!(case.load().unwrap().settings.port, 3001);
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let mistakes = Case::new().file("chatsphere.toml", "a = 1\nb =\n").file(".env", "A=b\nx y z\n").mistakes();
        assert!(mistakes[0].starts_with("chatsphere.toml:2: this is not TOML"), "{mistakes:?}");
        assert_eq!(mistakes[1], ".env:2: this is no NAME=value; a value with spaces or # needs quotes");
        let mistakes = Case::new().variable("CHATSPHERE_CONFIG", "/nowhere.toml").mistakes();
        assert!(mistakes[0].starts_with("/nowhere.toml:1: it can't be read"), "{mistakes:?}");
    }

    #[test]
    fn weak_secrets_are_refused_without_being_shown() {
        let case = Case::new().variable("JWT_SECRET", "your-secret-key").file(".env", "JWT_API_SECRET=s3cret\n");
        let mistakes = case.mistakes();
        assert!(mistakes.iter().all(|mistake| mistake.contains("openssl rand -hex 32")), "{mistakes:?}");
        assert!(!mistakes.concat().contains("s3cret"));
    }

    #[test]
    fn a_lifetime_without_unit_is_seconds_and_told() {
        let settings = Case::new().variable("JWT_EXPIRES_IN", "3600").load().unwrap().settings;
        assert_eq!(settings.lifetimes.user, std::time::Duration::from_secs(3_600));
        let warnings = settings.warnings().concat();
        assert!(warnings.contains("milliseconds") && warnings.contains("3600s"), "{warnings}");
        // The overriding value has a unit.
        let case = Case::new().file("chatsphere.toml", "jwt_expires_in = 3600\n").variable("JWT_EXPIRES_IN", "2 days");
        assert_eq!(case.load().unwrap().settings.warnings(), Vec::<String>::new());
    }

    #[test]
    fn what_is_empty_counts_as_not_set() {
        let settings = Case::new().variable("PORT", "").variable("JWT_SECRET", "").load().unwrap().settings;
        assert_eq!((settings.port, settings.jwt_secret), (3001, None));
    }

    #[test]
    fn nats_is_told_once_who_this_node_is() {
        let case = || Case::new().variable("NATS_URL", "nats://ada:s3cret@bus").variable("CHATSPHERE_NATS_TLS_CERT", "a.pem");
        assert_eq!(
            case().variable("CHATSPHERE_NATS_CREDENTIALS", "a.creds").mistakes(),
            [
                "environment variable CHATSPHERE_NATS_TLS_CERT: nats_tls_key, the certificate's private key, is not set",
                "environment variable CHATSPHERE_NATS_CREDENTIALS: nats_url tells NATS who this node is already: one of them \
                 is enough",
            ]
        );
        let options = case().variable("CHATSPHERE_NATS_TLS_KEY", "b.pem").load().unwrap().settings.nats().unwrap();
        assert_eq!(options.tls.key, Some("b.pem".into()));
        assert!(!format!("{options:?}").contains("s3cret"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert_eq!(
            Case::new().flag("tls_cert", "a.pem").flag("page_max", "10").mistakes(),
            [
                "--tls-cert: tls_key, the certificate's private key, is not set",
                "--page-max: page_default is 50, which is more than page_max: 10",
            ]
        );
    }
}
