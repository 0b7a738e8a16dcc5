//! Reads each source of settings into the same form. Only names are checked here.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::dot_env::{Line, parse};
use super::place::{Mistake, Place};
use super::table::{SETTINGS, Setting};

/// Variables with our prefix that are not settings: the name of the configuration file, and those of the tests.
const CONFIG_VARIABLE: &str = "CHATSPHERE_CONFIG";
const PREFIX: &str = "CHATSPHERE_";
const TESTS_PREFIX: &str = "CHATSPHERE_TEST_";
/// Kubernetes sets these, and a `CHATSPHERE_PORT` that is a URL, for a Service named chatsphere.
const SERVICE_LINKS: [&str; 3] = ["CHATSPHERE_SERVICE_HOST", "CHATSPHERE_SERVICE_PORT", "CHATSPHERE_PORT_"];
/// Minimum similarity for a suggestion.
const ALIKE: f64 = 0.6;

/// A setting's value as text.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    pub(super) place: Place,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The content of one source.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) written: Vec<Written>,
    /// A configuration file named by a variable.
    pub(super) config: Option<PathBuf>,
    pub(super) mistakes: Vec<Mistake>,
}

/// The flags parsed by clap.
pub(super) fn flags(given: Vec<(&'static Setting, String)>) -> Layer {
    let written = given.into_iter().map(|(setting, text)| {
        let name = setting.flag().unwrap_or_default();
        Written { setting, text, place: Place::Flag { name } }
    });
    Layer { written: written.collect(), ..Layer::default() }
}

/// The environment.
pub(super) fn environment(variables: Vec<(OsString, OsString)>) -> Layer {
    let mut mistakes = Vec::new();
    let mut readable = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        if is_service_link(&name, &value) {
            continue;
        }
        let place = Place::Environment { name: name.clone() };
        match value.into_string() {
            Ok(value) => readable.push((name, value, place)),
            Err(_) if is_ours(&name) => mistakes.push(Mistake::new(place, "its value is not UTF-8")),
            Err(_) => {}
        }
    }
    let layer = variables_layer(readable);
    mistakes.extend(layer.mistakes);
    Layer { mistakes, ..layer }
}

/// Reads `.env` in the working directory only: one in a parent directory belongs to another project.
pub(super) fn dot_env(directory: &Path) -> Layer {
    let text = match std::fs::read_to_string(directory.join(".env")) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Layer::default(),
        Err(error) => {
            let mistake = Mistake::new(Place::DotEnv { line: 1, name: None }, format!("it can't be read: {error}"));
            return Layer { mistakes: vec![mistake], ..Layer::default() };
        }
    };
    let mut mistakes = Vec::new();
    let mut readable = Vec::new();
    for Line { number: line, found } in parse(&text) {
        match found {
            Ok((name, value)) => readable.push((name.clone(), value, Place::DotEnv { line, name: Some(name) })),
            Err(why) => mistakes.push(Mistake::new(Place::DotEnv { line, name: None }, why)),
        }
    }
    let layer = variables_layer(readable);
    mistakes.extend(layer.mistakes);
    Layer { mistakes, ..layer }
}

fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = || value.to_str().is_some_and(|value| value.contains("://"));
    SERVICE_LINKS.iter().any(|link| name.starts_with(link)) || (name == "CHATSPHERE_PORT" && is_url())
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || SETTINGS.iter().any(|setting| setting.also.contains(&name))
}

/// Within one source, `CHATSPHERE_` names override the others, so those are applied first.
fn variables_layer(variables: Vec<(String, String, Place)>) -> Layer {
    let mut layer = Layer::default();
    // Empty variables count as unset: compose files pass on unset variables as empty.
    for (name, text, place) in variables.iter().filter(|(_, text, _)| !text.is_empty()) {
        if name == CONFIG_VARIABLE {
            layer.config = Some(PathBuf::from(text));
        } else if name.starts_with(PREFIX)
            && !name.starts_with(TESTS_PREFIX)
            && !SETTINGS.iter().any(|setting| setting.variables().any(|variable| variable == *name))
        {
            let names = SETTINGS.iter().flat_map(Setting::variables).filter(|name| name.starts_with(PREFIX));
            let suggestion = nearest(name, PREFIX, names.map(Into::into));
            layer.mistakes.push(Mistake::new(place.clone(), format!("there is no such setting{suggestion}")));
        }
    }
    for setting in SETTINGS {
        let names: Vec<String> = setting.variables().collect();
        for name in names.iter().rev() {
            let found = variables.iter().filter(|(other, text, _)| other == name && !text.is_empty());
            layer.written.extend(found.map(|(_, text, place)| Written { setting, text: text.clone(), place: place.clone() }));
        }
    }
    layer
}

/// Reads `chatsphere.toml`. Its absence is an error only if it was named explicitly.
pub(super) fn file(path: &Path, asked_for: bool) -> Layer {
    let at = |line, key| Place::File { path: path.to_owned(), line, key };
    let mut layer = Layer::default();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !asked_for => return layer,
        Err(error) => {
            layer.mistakes.push(Mistake::new(at(1, None), format!("it can't be read: {error}")));
            return layer;
        }
    };
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            layer.mistakes.push(Mistake::new(at(line, None), format!("this is not TOML: {}", error.message())));
            return layer;
        }
    };
    for (key, value) in &table {
        let name = key.get_ref().as_ref();
        let place = at(line_at(text, key.span().start), Some(name.to_owned()));
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            let suggestion = nearest(name, "", SETTINGS.iter().map(|setting| setting.name.into()));
            layer.mistakes.push(Mistake::new(place, format!("there is no such setting{suggestion}")));
            continue;
        };
        match plain_text(value.get_ref()) {
            Some(text) => layer.written.push(Written { setting, text, place }),
            None => {
                layer.mistakes.push(Mistake::new(place, "its value must be a text, a number, true, false or a list of texts"))
            }
        }
    }
    layer
}

/// The value as the text of a variable.
fn plain_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string()),
        DeValue::Boolean(on) => Some(super::values::show_switch(*on)),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| plain_text(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The most similar name. The common prefix is ignored.
fn nearest(name: &str, prefix: &str, names: impl Iterator<Item = Cow<'static, str>>) -> String {
    let bare = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    names
        .map(|other| (strsim::normalized_damerau_levenshtein(&bare(name), &bare(&other)), other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or_else(|| "; `chatsphere config docs` lists all".to_owned(), |(_, other)| format!("; did you mean {other}?"))
}
