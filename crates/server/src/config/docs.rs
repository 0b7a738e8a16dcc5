//! Generates `docs/configuration.md` from the table of settings.

use std::fmt::Write;

use super::settings::Settings;
use super::table::{Group, SETTINGS, Setting};

const HEAD: &str = "\
<!-- Made by `chatsphere config docs`; change crates/server/src/config/table.rs instead. -->

# Configuration

ChatSphere runs without any. What is set is looked for in this order, and the first that has it counts:

1. a flag of the command line: `chatsphere serve --port 8080`
2. an environment variable: `CHATSPHERE_PORT=8080`
3. `.env` in the working directory, in the same words as the environment
4. `chatsphere.toml` in the working directory, or the file that `--config` or `CHATSPHERE_CONFIG` names: `port = 8080`
5. the default

An empty variable counts as not set. A mistake, a name that does not exist included, stops the start with its place and what
would be right. `chatsphere config check` tells what holds and where each value comes from; `chatsphere doctor` also tries it
out.

In `.env` a value is taken as it stands; nothing in it is replaced, so a `$` is a `$`. A value with blanks or ` #` needs quotes. \
In
`'…'` everything stands for itself; in `\"…\"` a backslash makes ordinary characters of `\"`, `\\`, `$` and `` ` ``. `export` \
 before a name,
comments, CRLF and a byte order mark are fine.

Sizes are bytes, or a whole number of `KiB`, `MiB` or `GiB`. Durations are a whole number and `s`, `m`, `h`, `d` or `w`.
Secrets have no flag, since every user of a machine sees the flags of its programs.
";

/// The document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for group in Group::ALL {
        let _ = write!(text, "\n## {}\n\n| setting | variable | default | |\n| --- | --- | --- | --- |\n", group.title());
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            let _ = writeln!(text, "{}", row(setting));
        }
    }
    text
}

fn row(setting: &Setting) -> String {
    let flag = setting.flag().map_or_else(|| "no flag".to_owned(), |flag| format!("`--{flag}`"));
    let variables: Vec<String> = setting.variables().map(|name| format!("`{name}`")).collect();
    let default = setting.show(&Settings::default());
    format!("| `{}`<br>{flag} | {} | {default} | {} |", setting.name, variables.join("<br>"), setting.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "run: cargo run -p chatsphere -- config docs > docs/configuration.md");
    }
}
