//! What each kind of write does, written once for every database.
//!
//! A rule looks first, refuses if it must, and writes last: a refused write has changed nothing, so its batch goes on.

mod actor;
mod append;
pub(crate) mod decide;
mod events;
mod members;
mod names;
pub(crate) mod outcome;
mod quota;
mod rooms;
mod tokens;
mod users;

use std::sync::Arc;

use chatsphere_core::{ControlChange, Error, Event, Timestamp};

use super::command::{Answer, Request};
use super::database::WriteDatabase;
use super::failure::{Failure, Stop};
use quota::Quota;

/// What a transaction changed so far, for those who are told after its commit.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) control: Vec<(ControlChange, Timestamp)>,
}

/// Carries out requests in their order within the transaction that has begun. The answers are in the same order, and hold
/// only once it is committed.
pub(crate) async fn carry_out<D: WriteDatabase>(
    database: &mut D,
    requests: &[&Request],
    daily_bytes: u64,
    effects: &mut Effects,
) -> Result<Vec<Result<Answer, Error>>, Failure> {
    let mut quota = Quota::read(database, requests, daily_bytes).await?;
    let mut answers = Vec::with_capacity(requests.len());
    let mut rest = requests;
    while let Some(first) = rest.first() {
        let run: Vec<_> = rest.iter().map_while(|request| append::as_message(request)).collect();
        if run.is_empty() {
            answers.push(match within(database, first, &mut quota, effects).await {
                Ok(answer) => Ok(answer),
                Err(Stop::Refused(error)) => Err(error),
                Err(Stop::Failed(failure)) => return Err(failure),
            });
            rest = &rest[1..];
        } else {
            let decided = append::append(database, &run, &mut quota, effects).await?;
            answers.extend(decided.into_iter().map(|answer| answer.map(Answer::Message)));
            rest = &rest[run.len()..];
        }
    }
    quota.keep(database).await?;
    Ok(answers)
}

/// Carries a request out, unless whoever pays for it has nothing left.
async fn within<D: WriteDatabase>(
    database: &mut D,
    request: &Request,
    quota: &mut Quota,
    effects: &mut Effects,
) -> Result<Answer, Stop> {
    let payer = quota.payer(database, request).await?;
    if let Some(user) = payer {
        quota.check(user, request.at())?;
    }
    let answer = one(database, request, effects).await?;
    if let Some(user) = payer.filter(|_| answer.is_new()) {
        quota.count(user, request.stored_bytes());
    }
    Ok(answer)
}

async fn one<D: WriteDatabase>(database: &mut D, request: &Request, effects: &mut Effects) -> Result<Answer, Stop> {
    Ok(match request {
        // Runs of messages are taken out before.
        Request::Append(_) => return Err(Stop::Refused(Error::Internal)),
        Request::CreateUser(new) => Answer::Token(users::create(database, new).await?),
        Request::ChangeUser(change) => Answer::User(users::change(database, change, effects).await?),
        Request::PutExternalUser(user) => Answer::ExternalUser(Box::new(users::put_external(database, user, effects).await?)),
        Request::CreateRoom(new) => Answer::Room(rooms::create(database, new, effects).await?),
        Request::AddMember(change) => Answer::Membership(members::add(database, change, effects).await?),
        Request::RemoveMember(change) => Answer::Membership(members::remove(database, change, effects).await?),
        Request::CreateToken(new) => Answer::Token(tokens::create(database, new).await?),
        Request::RevokeToken(revocation) => {
            tokens::revoke(database, *revocation, effects).await?;
            Answer::Revoked
        }
    })
}
