//! Checks that the node can write its files.

use std::path::Path;

use rustix::fs::{Access, access};

use super::finding::Finding;
use crate::config::Settings;
use crate::installation;
use crate::lock::server_on;
use crate::ownership::{self, Role};

const CHECK: &str = "data directory";

pub(super) fn check(settings: &Settings) -> Finding {
    let path = &settings.data_dir;
    let shown = path.display();
    if !path.exists() {
        let above = existing_above(path);
        return match access(above, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::ok(CHECK, format!("{shown} will be made on the first start")),
            Err(error) => Finding::wrong(
                CHECK,
                format!("{shown} is not there, and can't be made in {}: {error}", above.display()),
                "make it for the user that runs the server, or name another with --data-dir",
            ),
        };
    }
    if !path.is_dir() {
        return Finding::wrong(CHECK, format!("{shown} is no directory"), "name another with --data-dir");
    }
    if access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let trouble = ownership::trouble(&[path.clone(), path.join("lock")]);
        let trouble = trouble.unwrap_or_else(|| format!("{shown} can't be written\nmount its disk for writing"));
        return Finding::from_error(CHECK, &trouble);
    }
    // Root may examine any directory, even if a server would reject it.
    let role = if ownership::this_user() == 0 { Role::Operator } else { Role::Server };
    if let Err(error) = installation::check_files(settings, role) {
        return Finding::from_error(CHECK, &error.to_string());
    }
    match server_on(path) {
        Some(Some(process)) => Finding::ok(CHECK, format!("{shown}, in use by the server with process number {process}")),
        Some(None) => Finding::ok(CHECK, format!("{shown}, in use by a server")),
        None => Finding::ok(CHECK, format!("{shown}, no server runs on it")),
    }
}

/// The path itself, or its nearest existing parent.
pub(super) fn existing_above(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."))
}
