//! A Python environment with the tests' packages, separate from the system's.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::apt::Apt;
use super::look_up;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts};
use crate::{paths, say};

/// The installed package.
const PACKAGE: &str = "websockets==17.4";
const IMPORT: &str = "import websockets.asyncio.client, websockets.sync.client";

/// The Python that runs the tests' scripts.
pub(crate) fn find_or_install(apt: &Apt<'_>, interrupts: &Interrupts) -> Result<PathBuf> {
    let place = Place::new(paths::test_tools()?);
    let python = match place.ready() {
        Some(python) => python,
        None => place.fill(apt, interrupts)?,
    };
    say::step(&format!("finding Python with {PACKAGE} … {}", python.display()));
    Ok(python)
}

struct Place {
    venv: PathBuf,
    stamp: PathBuf,
    packages: PathBuf,
    wrapper: PathBuf,
}

impl Place {
    fn new(dir: PathBuf) -> Self {
        Self {
            venv: dir.join("venv"),
            stamp: dir.join("python-packages"),
            packages: dir.join("python-site"),
            wrapper: dir.join("python"),
        }
    }

    fn in_venv(&self) -> PathBuf {
        self.venv.join("bin").join("python")
    }

    /// The environment of an earlier run, if it works.
    fn ready(&self) -> Option<PathBuf> {
        let stamp = std::fs::read_to_string(&self.stamp).ok()?;
        if stamp != PACKAGE {
            return None;
        }
        [self.in_venv(), self.wrapper.clone()].into_iter().find(|python| imports(python))
    }

    fn fill(&self, apt: &Apt<'_>, interrupts: &Interrupts) -> Result<PathBuf> {
        self.empty()?;
        let system = system_python(apt)?;
        say::step(&format!("installing the Python package {PACKAGE}"));
        let python = if self.make_venv(&system, apt, interrupts)? {
            install(&self.in_venv(), &[], interrupts)?;
            self.in_venv()
        } else {
            say::warn("this Python makes no virtual environments; the package goes into a directory beside it");
            self.make_wrapper(&system, apt, interrupts)?;
            self.wrapper.clone()
        };
        if !imports(&python) {
            return Err(TaskError::failed(format!("{} can't import {PACKAGE}", python.display())));
        }
        std::fs::write(&self.stamp, PACKAGE).map_err(TaskError::at("writing", &self.stamp))?;
        Ok(python)
    }

    /// Removes an incomplete environment.
    fn empty(&self) -> Result {
        let _ = std::fs::remove_file(&self.stamp);
        let _ = std::fs::remove_file(&self.wrapper);
        for dir in [&self.venv, &self.packages] {
            if dir.exists() {
                std::fs::remove_dir_all(dir).map_err(TaskError::at("removing", dir))?;
            }
        }
        Ok(())
    }

    /// False if an environment cannot be created.
    fn make_venv(&self, system: &Path, apt: &Apt<'_>, interrupts: &Interrupts) -> Result<bool> {
        let make = || {
            let mut command = quiet(system);
            command.args(["-m", "venv", "--clear"]).arg(&self.venv);
            interrupts.status(&mut command, Group::Own).map(|status| status.success())
        };
        if make()? {
            return Ok(true);
        }
        // Debian's python3 lacks the module that creates environments.
        match apt.install(&["python3-venv"]) {
            Ok(()) => make(),
            Err(TaskError::Interrupted(signal)) => Err(TaskError::Interrupted(signal)),
            Err(_) => Ok(false),
        }
    }

    fn make_wrapper(&self, system: &Path, apt: &Apt<'_>, interrupts: &Interrupts) -> Result {
        if look_up::first_line(system, &["-m", "pip", "--version"]).is_none() {
            apt.install(&["python3-pip"])?;
        }
        let target = ["--target".as_ref(), self.packages.as_os_str()];
        install(system, &target, interrupts)?;
        let script = wrapper_script(system, &self.packages);
        std::fs::write(&self.wrapper, script).map_err(TaskError::at("writing", &self.wrapper))?;
        std::fs::set_permissions(&self.wrapper, std::fs::Permissions::from_mode(0o755))
            .map_err(TaskError::at("making a program of", &self.wrapper))
    }
}

fn install(python: &Path, options: &[&OsStr], interrupts: &Interrupts) -> Result {
    let mut pip = quiet(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(options).arg(PACKAGE);
    interrupts.run(&mut pip, Group::Own)
}

fn system_python(apt: &Apt<'_>) -> Result<PathBuf> {
    let find = || look_up::on_path(&["python3"]).filter(|python| look_up::first_line(python, &["--version"]).is_some());
    if let Some(python) = find() {
        return Ok(python);
    }
    apt.install(&["python3", "python3-venv"])?;
    find().ok_or_else(|| TaskError::failed("no python3 was found, though the package python3 is installed"))
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

fn imports(python: &Path) -> bool {
    quiet(python).args(["-c", IMPORT]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn wrapper_script(python: &Path, packages: &Path) -> String {
    format!("#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n", quoted(packages), quoted(python))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapper_survives_odd_paths() {
        let script = wrapper_script(Path::new("/usr/bin/python3"), Path::new("/it's here/site"));
        assert_eq!(script, "#!/bin/sh\nPYTHONPATH='/it'\\''s here/site' exec '/usr/bin/python3' \"$@\"\n");
    }
}
