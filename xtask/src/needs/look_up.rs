//! Finds programs and their versions.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first of `names` on PATH.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    find(names, &path)
}

fn find(names: &[&str], path: &OsStr) -> Option<PathBuf> {
    names.iter().find_map(|name| std::env::split_paths(path).map(|dir| dir.join(name)).find(|file| is_program(file)))
}

/// Whether the file exists and is executable.
pub(crate) fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The first line of the program's output, if it succeeds.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// The first number in a version such as `v20.20.2` or `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`.
pub(crate) fn major(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| {
        let word = word.strip_prefix('v').unwrap_or(word);
        let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("Chromium 156.0.8078.73 built on Debian"), Some(156));
        assert_eq!(major("nonsense"), None);
    }

    #[test]
    fn only_programs_are_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("note"), "").unwrap();
        assert_eq!(find(&["note"], dir.path().as_os_str()), None);
        assert!(find(&["nothing-of-the-kind", "sh"], OsStr::new("/usr/bin:/bin")).is_some());
    }
}
