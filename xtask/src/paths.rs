//! Paths in the workspace.

use std::path::{Path, PathBuf};

use crate::error::{Result, TaskError};

/// The root of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    // Cargo sets it at run time; the compiled-in value is for a binary that was started directly.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).ok_or_else(|| TaskError::failed("the workspace's root was not found"))
}

/// Cargo's target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(TaskError::io("finding the target directory"))?;
    // <target>/<profile>/xtask
    exe.ancestors().nth(2).map(Path::to_path_buf).ok_or_else(|| TaskError::failed("the target directory was not found"))
}

/// The directory of test tools without a Debian package, in cargo's target directory.
pub(crate) fn test_tools() -> Result<PathBuf> {
    let dir = target()?.join("test-tools");
    std::fs::create_dir_all(&dir).map_err(TaskError::at("making", &dir))?;
    Ok(dir)
}
