//! Checks a node without changing anything, and reports problems with their remedies.

mod bus;
mod certificate;
mod data_dir;
mod database;
mod descriptors;
mod disk;
mod finding;
mod installation;
mod port;
mod secrets;

pub use finding::Finding;

use crate::bootstrap::check_supported;
use crate::config::{ConfigError, Loaded};

/// Runs all checks, in the order in which a start would need them.
pub async fn examine(configuration: Result<Loaded, ConfigError>) -> Vec<Finding> {
    let loaded = match configuration {
        Ok(loaded) => loaded,
        Err(ConfigError(mistakes)) => {
            let to_do = "fix it; the other checks need a configuration without mistakes";
            return mistakes.iter().map(|mistake| Finding::wrong("configuration", mistake.to_string(), to_do)).collect();
        }
    };
    let settings = &loaded.settings;
    let mut findings = Vec::new();
    findings.push(match check_supported(settings) {
        Ok(()) => Finding::ok("configuration", "no mistakes"),
        Err(error) => Finding::from_error("configuration", &error.to_string()),
    });
    findings.extend(installation::check(settings));
    findings.push(data_dir::check(settings));
    findings.extend(secrets::check(&loaded));
    findings.extend(certificate::check(settings));
    findings.push(database::check(settings).await);
    findings.extend(bus::check(settings).await);
    findings.push(disk::check(settings));
    findings.push(port::check(settings));
    findings.push(descriptors::check(settings));
    findings
}
