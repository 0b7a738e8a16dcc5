//! Finds dependencies that a crate declares and never uses.

use std::path::Path;

use toml::{Table, Value};

use crate::error::{Result, TaskError};

/// The sources of one crate.
#[derive(Default)]
struct Sources {
    /// The sources without tests.
    product: String,
    all: String,
}

/// Reads every crate under `crates/` and lists its unused dependencies.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let crates = root.join("crates");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&crates).map_err(TaskError::at("reading", &crates))? {
        let path = entry.map_err(TaskError::at("reading", &crates))?.path();
        let Ok(text) = std::fs::read_to_string(path.join("Cargo.toml")) else { continue };
        let manifest: Table = text.parse().map_err(|error| TaskError::failed(format!("{}: {error}", path.display())))?;
        let mut sources = Sources::default();
        for folder in ["src", "tests", "benches", "examples"] {
            read(&path.join(folder), folder == "src", &mut sources)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.extend(unnamed(&manifest, &sources).into_iter().map(|unused| format!("crates/{name} {unused}")));
    }
    found.sort();
    Ok(found)
}

fn read(folder: &Path, is_product: bool, sources: &mut Sources) -> Result {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(TaskError::at("reading", folder))?.path();
        let is_product = is_product && path.file_stem().is_none_or(|stem| stem != "tests");
        if path.is_dir() {
            read(&path, is_product, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).map_err(TaskError::at("reading", &path))?;
            sources.all.push_str(&text);
            if is_product {
                sources.product.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
            }
        }
    }
    Ok(())
}

fn unnamed(manifest: &Table, sources: &Sources) -> Vec<String> {
    let for_platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables: Vec<&Table> = std::iter::once(manifest).chain(for_platforms.filter_map(Value::as_table)).collect();
    let declared = |section: &str| -> Vec<&String> {
        tables.iter().filter_map(|table| table.get(section)?.as_table()).flat_map(Table::keys).collect()
    };
    let product = declared("dependencies");
    let in_product = product.iter().filter(|name| !names(&sources.product, name));
    // Tests may declare a dependency again, to enable more of its features.
    let in_tests = declared("dev-dependencies").into_iter().filter(|name| !names(&sources.all, name));
    let in_product = in_product.map(|name| format!("does not use {name} outside of its tests"));
    in_product.chain(in_tests.map(|name| format!("does not use {name}"))).collect()
}

/// Whether the text names a package in Rust's spelling, with underscores.
fn names(text: &str, package: &str) -> bool {
    let name = package.replace('-', "_");
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_dependency_is_found() {
        let manifest = "[dependencies]\nserde-json = \"1\"\nuuid.workspace = true\nurl = \"2\"\n\
            [target.'cfg(unix)'.dependencies]\nrustix = \"1\"\n[dev-dependencies]\ninsta = \"1\"\nuuid = \"1\"\n";
        let sources = Sources { product: "use url::Url;".to_owned(), all: "use url::Url; serde_json::Value, uuid".to_owned() };
        let found = unnamed(&manifest.parse().unwrap(), &sources);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(["serde-json", "uuid", "rustix", "insta"].iter().all(|name| found.iter().any(|line| line.contains(name))));
        assert!(!names("my_uuid", "uuid"));
    }
}
