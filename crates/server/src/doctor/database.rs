//! Is the database there, is it ours, and of this version?

use std::time::Duration;

use chatsphere_store::OpenError;
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::Settings;
use crate::operator::Operator;
use crate::start_error::StartError;

const CHECK: &str = "database";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn check(settings: &Settings) -> Finding {
    let url = settings.database();
    if let Some(path) = url.sqlite_path()
        && !path.exists()
    {
        return Finding::ok(CHECK, format!("{url} will be made on the first start"));
    }
    match timeout(PATIENCE, Operator::open(settings)).await {
        Ok(Ok(operator)) => {
            let answers = operator.chat.store.ping().await;
            operator.close().await;
            match answers {
                Ok(()) => Finding::ok(CHECK, format!("{url} answers, with these secrets")),
                Err(error) => Finding::wrong(CHECK, format!("{url} does not answer: {error}"), "check that it runs"),
            }
        }
        Ok(Err(error)) => finding(&error),
        Err(_) => Finding::wrong(
            CHECK,
            format!("{url} did not answer within 10 s"),
            "check that it runs, and that nothing blocks the way",
        ),
    }
}

fn finding(error: &StartError) -> Finding {
    let message = match error {
        StartError::Database { error: OpenError::Migration { .. }, .. } => {
            format!("{error}\nrun `chatsphere migrate` and read what it says")
        }
        error => error.to_string(),
    };
    Finding::from_error(CHECK, &message)
}
