//! The allowed dependencies between crates. Cargo forbids cycles, but not shortcuts, such as a rule that accesses the database.

use std::path::Path;

use toml::{Table, Value};

use crate::error::{Result, TaskError};

/// The dependencies that one crate may have outside its tests.
struct Rule {
    /// The directory under `crates/`.
    crate_dir: &'static str,
    /// Workspace crates that it may use; all others are forbidden.
    workspace: &'static [&'static str],
    /// Groups of external crates that it may not use.
    never: &'static [&'static [&'static str]],
}

const TYPES: &str = "chatsphere-types";
const CORE: &str = "chatsphere-core";
const NET: &str = "chatsphere-net";
const PROTOCOL: &str = "chatsphere-protocol";
const STORE: &str = "chatsphere-store";
const REALTIME: &str = "chatsphere-realtime";
const CLIENT: &str = "chatsphere-client";
const BENCH: &str = "chatsphere-bench";

const HTTP: &[&str] = &[
    "axum",
    "axum-core",
    "axum-extra",
    "http",
    "http-body",
    "http-body-util",
    "hyper",
    "hyper-util",
    "reqwest",
    "tower",
    "tower-http",
];
const SQL: &[&str] =
    &["deadpool", "deadpool-postgres", "postgres", "refinery", "rusqlite", "sqlx", "tokio-postgres", "tokio-postgres-rustls"];
const SOCKETS: &[&str] = &["rustls", "socket2", "tokio-rustls", "tokio-tungstenite", "tokio-websockets", "tungstenite"];
const BUS: &[&str] = &["async-nats", "nats"];
const DOCUMENTS: &[&str] = &["utoipa", "utoipa-axum", "utoipa-swagger-ui"];
const RUNTIME: &[&str] = &["async-std", "mio", "smol", "tokio", "tokio-util"];

/// The rules of all crates. A crate without a rule fails the check.
const RULES: &[Rule] = &[
    Rule { crate_dir: "types", workspace: &[], never: &[HTTP, SQL, SOCKETS, BUS, DOCUMENTS, RUNTIME] },
    Rule { crate_dir: "core", workspace: &[TYPES], never: &[HTTP, SQL, SOCKETS, BUS, DOCUMENTS] },
    Rule { crate_dir: "protocol", workspace: &[TYPES], never: &[HTTP, SQL, SOCKETS, BUS, RUNTIME] },
    // The store connects to its database with TLS itself, so it may use sockets.
    Rule { crate_dir: "store", workspace: &[CORE], never: &[HTTP, BUS, DOCUMENTS] },
    Rule { crate_dir: "net", workspace: &[], never: &[SQL, BUS, DOCUMENTS] },
    Rule { crate_dir: "realtime", workspace: &[CORE, NET, PROTOCOL], never: &[HTTP, SQL, DOCUMENTS] },
    Rule { crate_dir: "server", workspace: &[CORE, NET, PROTOCOL, REALTIME, STORE], never: &[SQL] },
    Rule { crate_dir: "client", workspace: &[TYPES, PROTOCOL], never: &[SQL, BUS, DOCUMENTS] },
    Rule { crate_dir: "bench", workspace: &[PROTOCOL, CLIENT], never: &[SQL, BUS, DOCUMENTS] },
    Rule { crate_dir: "verify", workspace: &[PROTOCOL, CLIENT, BENCH], never: &[SQL, BUS, DOCUMENTS] },
];

/// Reads every `Cargo.toml` under `crates/` and lists violations.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let crates = root.join("crates");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&crates).map_err(TaskError::at("reading", &crates))? {
        let entry = entry.map_err(TaskError::at("reading", &crates))?;
        let manifest = entry.path().join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&manifest).map_err(TaskError::at("reading", &manifest))?;
        let table: Table = text.parse().map_err(|error| TaskError::failed(format!("{}: {error}", manifest.display())))?;
        let dir = entry.file_name().to_string_lossy().into_owned();
        found.extend(against_rules(&dir, &table));
    }
    found.sort();
    Ok(found)
}

fn against_rules(dir: &str, manifest: &Table) -> Vec<String> {
    let Some(rule) = RULES.iter().find(|rule| rule.crate_dir == dir) else {
        return vec![format!("crates/{dir} has no rule: say in xtask/src/arrows.rs what it may depend on")];
    };
    dependencies(manifest)
        .into_iter()
        .filter_map(|name| {
            if is_ours(&name) {
                let may = rule.workspace.contains(&name.as_str());
                (!may).then(|| format!("crates/{dir} must not depend on {name}: it may use {}", listed(rule.workspace)))
            } else {
                let never = rule.never.iter().any(|group| group.contains(&name.as_str()));
                never.then(|| format!("crates/{dir} must not depend on {name}: that belongs to another crate"))
            }
        })
        .collect()
}

fn is_ours(name: &str) -> bool {
    name == "chatsphere" || name.starts_with("chatsphere-") || name == "xtask"
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "no crate of this workspace".to_owned() } else { format!("only {}", names.join(", ")) }
}

/// The dependencies in a manifest, without dev-dependencies.
fn dependencies(manifest: &Table) -> Vec<String> {
    let for_platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    std::iter::once(manifest)
        .chain(for_platforms.filter_map(Value::as_table))
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|section| table.get(section)))
        .flatten()
        .filter_map(Value::as_table)
        .flatten()
        .map(|(name, value)| {
            // `alias = { package = "name" }`
            let package = value.get("package").and_then(Value::as_str);
            package.unwrap_or(name).to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dir: &str, manifest: &str) -> Vec<String> {
        against_rules(dir, &manifest.parse().unwrap())
    }

    #[test]
    fn the_rules_never_reach_for_http_or_sql() {
        let manifest =
            "[dependencies]\naxum.workspace = true\nrusqlite = \"1\"\nserde = \"1\"\nchatsphere-store.workspace = true\n";
        let found = found("core", manifest);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("core must not depend on axum"), "{found:?}");
    }

    #[test]
    fn store_and_realtime_never_meet() {
        assert_eq!(found("store", "[dependencies]\nchatsphere-realtime.workspace = true").len(), 1);
        assert_eq!(found("realtime", "[dependencies]\nchatsphere-store.workspace = true").len(), 1);
        assert_eq!(found("store", "[dependencies]\nchatsphere-protocol.workspace = true").len(), 1);
        assert_eq!(found("realtime", "[dependencies]\nchatsphere-protocol.workspace = true").len(), 0);
    }

    #[test]
    fn the_wire_and_the_net_do_without_the_rules() {
        for dir in ["types", "protocol", "client", "bench", "verify", "net"] {
            assert_eq!(found(dir, "[dependencies]\nchatsphere-core.workspace = true").len(), 1, "{dir}");
        }
        assert_eq!(found("core", "[dependencies]\nchatsphere-protocol.workspace = true").len(), 1);
        assert_eq!(found("net", "[dependencies]\nchatsphere-types.workspace = true").len(), 1);
    }

    #[test]
    fn tests_may_use_anything() {
        assert!(found("core", "[dev-dependencies]\naxum = \"0.8\"").is_empty());
    }

    #[test]
    fn other_names_and_platforms_hide_nothing() {
        assert_eq!(found("core", "[dependencies]\nweb = { package = \"axum\", version = \"0.8\" }").len(), 1);
        assert_eq!(found("core", "[target.'cfg(unix)'.dependencies]\nhyper = \"1\"").len(), 1);
        assert_eq!(found("core", "[build-dependencies]\nrusqlite = \"1\"").len(), 1);
        assert_eq!(found("core", "[dependencies.rusqlite]\nversion = \"1\"").len(), 1);
    }

    #[test]
    fn a_new_crate_needs_a_rule() {
        assert_eq!(found("gadgets", "[package]\nname = \"gadgets\"").len(), 1);
    }
}
