//! Checks that the database exists, belongs to this installation, and has this version.

use std::path::Path;
use std::time::Duration;

use chatsphere_core::{Clock, SystemClock, Timestamp};
use chatsphere_store::{Inspection, inspect};
use tokio::time::timeout;

use super::finding::Finding;
use super::secrets;
use crate::config::Settings;
use crate::lock::database_file;
use crate::ownership;
use crate::secrets::Secrets;
use crate::start_error::StartError;

const CHECK: &str = "database";
const PATIENCE: Duration = Duration::from_secs(10);
/// Tolerance for the round trip, and for clocks synchronised by NTP.
const CLOCKS_APART: Duration = Duration::from_secs(2);

pub(super) async fn check(settings: &Settings) -> Finding {
    let url = settings.database();
    if let Some(Ok(path)) = url.sqlite_path().map(database_file)
        && path.parent().is_some_and(Path::exists)
        && let Some(trouble) = ownership::trouble(&ownership::files_of(&path))
    {
        return Finding::from_error(CHECK, &trouble);
    }
    let present = match secrets::present(settings) {
        Ok(present) => present,
        Err(_) => return Finding::wrong(CHECK, "not looked at without secrets", "fix the secrets first"),
    };
    let keys = present.as_ref().map(Secrets::fingerprints);
    match timeout(PATIENCE, inspect(&url, keys.as_ref())).await {
        Ok(Ok(inspection)) => judge(&url.to_string(), &inspection, present.is_some(), SystemClock.now()),
        Ok(Err(error)) => Finding::from_error(CHECK, &StartError::database(error, present.as_ref(), settings).to_string()),
        Err(_) => {
            let to_do = "check that it runs, and that no firewall drops what is sent to it";
            Finding::wrong(CHECK, format!("{url} did not answer within 10 s"), to_do)
        }
    }
}

fn judge(url: &str, inspection: &Inspection, has_secrets: bool, here: Timestamp) -> Finding {
    let Inspection { version, newest, knows_keys, now } = *inspection;
    if knows_keys && !has_secrets {
        return Finding::wrong(
            CHECK,
            format!("the tokens in {url} were signed with secrets that are not here"),
            "put secrets.toml back into the data directory from a backup, or set JWT_SECRET and JWT_API_SECRET to what they \
             were",
        );
    }
    if let Some(there) = now {
        let apart = there.until(here).max(here.until(there));
        if apart > CLOCKS_APART {
            return Finding::wrong(
                CHECK,
                format!("the clock of {url} and this machine's are {} s apart", apart.as_secs()),
                "let NTP keep both: times and the ends of tokens would otherwise differ from node to node",
            );
        }
    }
    Finding::ok(
        CHECK,
        match version {
            0 => format!("{url} is empty; its tables will be made on the first start"),
            _ if version < newest => format!("{url} has version {version}; the next start brings it to {newest}"),
            _ => format!("{url} has version {version} and knows these secrets"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    fn inspection() -> Inspection {
        Inspection { version: 1, newest: 1, knows_keys: true, now: Some(NOW) }
    }

    #[test]
    fn clocks_apart_are_reported_whichever_is_ahead() {
        assert!(judge("it", &inspection(), true, NOW.after(Duration::from_secs(1))).ok);
        for (here, there) in [(NOW, NOW.after(Duration::from_secs(90))), (NOW.after(Duration::from_secs(90)), NOW)] {
            let finding = judge("it", &Inspection { now: Some(there), ..inspection() }, true, here);
            assert!(!finding.ok && finding.found.contains("90 s apart"), "{finding:?}");
        }
    }

    #[test]
    fn lost_secrets_are_reported() {
        let finding = judge("it", &inspection(), false, NOW);
        assert!(!finding.ok && finding.to_do.unwrap().contains("secrets.toml"));
        assert!(judge("it", &Inspection { version: 0, knows_keys: false, ..inspection() }, false, NOW).ok);
    }
}
