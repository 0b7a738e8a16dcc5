//! Runs cargo.

use std::process::Command;

use crate::error::Result;
use crate::paths;

/// A cargo command in the workspace's root.
pub(crate) fn cargo() -> Result<Command> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(paths::root()?);
    without_our_own(&mut command);
    Ok(command)
}

/// Removes cargo's variables about this program's own package: some build scripts watch them, and would rebuild everything
/// above them each time the caller changes between `cargo` and `cargo xtask`.
pub(crate) fn without_our_own(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_our_own) {
            command.env_remove(name);
        }
    }
}

fn is_our_own(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_")
        || matches!(
            name,
            "CARGO_MANIFEST_DIR"
                | "CARGO_MANIFEST_PATH"
                | "CARGO_MANIFEST_LINKS"
                | "CARGO_CRATE_NAME"
                | "CARGO_PRIMARY_PACKAGE"
        )
}

/// The arguments of `cargo test`: the whole workspace, unless `extra` names packages.
pub(crate) fn test_arguments(extra: &[String]) -> Vec<String> {
    let own = extra.split(|argument| argument == "--").next().unwrap_or_default();
    let names_packages = own.iter().any(|argument| {
        argument.starts_with("--package")
            || (argument.starts_with("-p") && !argument.starts_with("--"))
            || argument.starts_with("--manifest-path")
    });
    let mut arguments = vec!["test".to_owned()];
    if !names_packages {
        arguments.push("--workspace".to_owned());
    }
    if !own.iter().any(|argument| argument == "--no-fail-fast") {
        arguments.push("--no-fail-fast".to_owned());
    }
    arguments.extend_from_slice(extra);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(extra: &[&str]) -> String {
        let extra: Vec<String> = extra.iter().map(|&text| text.to_owned()).collect();
        test_arguments(&extra).join(" ")
    }

    #[test]
    fn all_tests_run_unless_packages_are_named() {
        assert_eq!(arguments(&[]), "test --workspace --no-fail-fast");
        assert_eq!(arguments(&["history", "--", "--nocapture"]), "test --workspace --no-fail-fast history -- --nocapture");
        assert_eq!(arguments(&["-p", "chatsphere-store"]), "test --no-fail-fast -p chatsphere-store");
        assert_eq!(arguments(&["--package=xtask", "--no-fail-fast"]), "test --package=xtask --no-fail-fast");
    }

    #[test]
    fn what_follows_the_second_dashes_is_for_the_test_programs() {
        assert_eq!(arguments(&["--", "-p", "--no-fail-fast"]), "test --workspace --no-fail-fast -- -p --no-fail-fast");
    }

    #[test]
    fn only_what_tells_of_our_package_is_taken_away() {
        assert!(is_our_own("CARGO_PKG_NAME"));
        assert!(is_our_own("CARGO_MANIFEST_DIR"));
        assert!(!is_our_own("CARGO_TARGET_DIR"));
        assert!(!is_our_own("CARGO_HOME"));
        assert!(!is_our_own("CARGO_TERM_COLOR"));
    }
}
