//! Command-line flags, generated from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::load::{Loaded, Sources, load};
use super::place::ConfigError;
use super::settings::Settings;
use super::table::{Group, SETTINGS, Setting};
use crate::ownership;

/// The flags of a command that uses the whole configuration.
pub type ServerFlags = Flags<true>;
/// The flags of a command that uses only the database.
pub type DatabaseFlags = Flags<false>;

/// The settings that were given as flags.
#[derive(Debug, Clone, Default)]
pub struct Flags<const ALL: bool> {
    config: Option<PathBuf>,
    given: Vec<(&'static Setting, String)>,
}

impl<const ALL: bool> Flags<ALL> {
    /// Merges the flags with the environment and the files of the working directory, and applies `trust_group` to this process.
    ///
    /// # Errors
    /// All errors found.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let environment = std::env::vars_os().collect();
        let loaded = load(Sources { flags: self.given, config: self.config, environment, directory: PathBuf::new() })?;
        ownership::trust_group(loaded.settings.trust_group);
        Ok(loaded)
    }
}

fn offered(all: bool) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| !setting.secret && (all || setting.administrative))
}

impl<const ALL: bool> Args for Flags<ALL> {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file [default: chatsphere.toml in the working directory, if there is one]")
            .help_heading("Configuration");
        let defaults = Settings::default();
        offered(ALL).fold(command.arg(config), |command, setting| command.arg(argument(setting, &defaults)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &'static Setting, defaults: &Settings) -> Arg {
    let variables: Vec<String> = setting.variables().collect();
    let help = format!("{} [default: {}] [env: {}]", setting.help, setting.show(defaults), variables.join(", "));
    let argument = Arg::new(setting.name)
        .long(setting.flag().unwrap_or_default())
        .value_name(setting.value)
        .help(help)
        .help_heading(setting.group.title())
        // `-h` shows the common flags, `--help` all.
        .hide_short_help(setting.group == Group::Limits);
    if setting.value == "on|off" { argument.num_args(0..=1).default_missing_value("on") } else { argument }
}

impl<const ALL: bool> FromArgMatches for Flags<ALL> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        self.given =
            offered(ALL).filter_map(|setting| Some((setting, matches.get_one::<String>(setting.name)?.clone()))).collect();
        Ok(())
    }
}
