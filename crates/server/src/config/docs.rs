//! Generates `docs/configuration.md` from the table of settings.

use std::fmt::Write;

use super::settings::Settings;
use super::table::{Group, SETTINGS, Setting};

const HEAD: &str = "\
<!-- Made by `chatsphere config docs`; change crates/server/src/config/table.rs instead. -->

# Configuration

ChatSphere needs no configuration: every setting has a default. Only several nodes need `database_url` and
the same secrets. A setting can be in several places; the first of these that has it wins:

1. a flag: `chatsphere serve --port 8080`
2. an environment variable: `CHATSPHERE_PORT=8080`
3. `.env` in the working directory, with the names of the environment variables
4. `chatsphere.toml` in the working directory, or the file that `--config` or `CHATSPHERE_CONFIG` names: `port = 8080`,
   `heartbeat = \"30s\"`, `allowed_origins = [\"https://chat.example.com\"]`
5. the default

Settings are read at the start: restart the server after a change. An empty variable counts as not set. If a value is
invalid or a name does not exist, the server does not start, and says where the mistake is and what would be right.
`chatsphere config check` shows the values in effect and the source of each; `chatsphere doctor` also tests them.

In `.env` values are literal: a `$` is a `$`. Quote a value that contains blanks or ` #`. Within `'…'` every character
stands for itself; within `\"…\"` a backslash escapes `\"`, `\\`, `$` and `` ` ``. `export` before a name, comments, CRLF
and a byte order mark are allowed.

Sizes are a whole number of bytes, `KiB`, `MiB` or `GiB`: `65536`, `64KiB`. Durations are a whole number and `s`, `m`,
`h`, `d` or `w`: `90s`. Secrets have no flag, because every user of a machine can see the flags of its processes.
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
