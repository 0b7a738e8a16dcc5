//! The current versions of rooms. Requests that arrive during a query share the next query.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chatsphere_core::store::RoomVersion;
use chatsphere_core::{Access, ControlPosition, Error, RoomId, Unavailable, policy};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::Row;
use uuid::Uuid;

use super::reader;
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows;

/// How long requests wait for the query before theirs. Then their query runs beside it, because its connection may hang.
const PATIENCE: Duration = Duration::from_millis(50);
/// The largest number of requests in one query.
const MAX_QUESTIONS: usize = 256;

/// Selects a row for each request, in their order; the first column is null if the room does not exist. The LIMITs guide the
/// planner, as in [`join_membership`](super::join_membership).
const VERSIONS: &str = "SELECT r.seq, member.yes IS TRUE, (SELECT position FROM control_head) AS control
    FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS asked (room, reader, place)
    LEFT JOIN LATERAL (SELECT pk, seq FROM rooms WHERE id = asked.room LIMIT 1) AS r ON true
    LEFT JOIN LATERAL (
        SELECT true AS yes FROM members
        WHERE user_pk = (SELECT pk FROM users WHERE id = asked.reader) AND room_pk = r.pk LIMIT 1
    ) AS member ON true
    ORDER BY asked.place";

/// Queries versions, many at a time.
pub(in crate::postgres) struct Versions {
    reads: Arc<Reads>,
    /// Requests that are in no query yet. The task that adds the first one starts the query.
    waiting: Mutex<Vec<Question>>,
    /// Held by the query that runs.
    turn: tokio::sync::Mutex<()>,
}

struct Question {
    room: RoomId,
    access: Access,
    answer: oneshot::Sender<Result<RoomVersion, Error>>,
}

impl Versions {
    pub(in crate::postgres) fn new(reads: Arc<Reads>) -> Self {
        Self { reads, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Returns the version of a room, and whether it may be read, as they are after the beginning of this call.
    pub(in crate::postgres) async fn ask(self: &Arc<Self>, room: RoomId, access: Access) -> Result<RoomVersion, Error> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(Question { room, access, answer });
            waiting.len() == 1
        };
        if is_first {
            // The query has a task of its own, because the first caller may be dropped.
            tokio::spawn(Arc::clone(self).answer_waiting());
        }
        answered.await.unwrap_or_else(|_| Err(Unavailable::StoreAway.into()))
    }

    async fn answer_waiting(self: Arc<Self>) {
        let _turn = timeout(PATIENCE, self.turn.lock()).await;
        // Requests that arrive from now on wait for the next query, because this one may have started before them.
        let mut questions = mem::take(&mut *self.waiting());
        while !questions.is_empty() {
            let rest = questions.split_off(questions.len().min(MAX_QUESTIONS));
            self.answer(mem::replace(&mut questions, rest)).await;
        }
    }

    async fn answer(&self, questions: Vec<Question>) {
        let (rooms, readers): (Vec<Uuid>, Vec<Option<Uuid>>) =
            questions.iter().map(|question| (*question.room.as_uuid(), reader(question.access).0)).unzip();
        let answers = self
            .reads
            .read(VERSIONS, &[&rooms, &readers], |found| {
                let answers = found.iter().zip(&questions).map(|(row, question)| version(row, question.access));
                Ok(Ok(answers.collect::<Result<Vec<_>, Cause>>()?))
            })
            .await;
        match answers {
            Ok(answers) => {
                for (question, answer) in questions.into_iter().zip(answers) {
                    let _ = question.answer.send(answer);
                }
            }
            Err(error) => {
                for question in questions {
                    let _ = question.answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Question>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(row: &Row, access: Access) -> Result<Result<RoomVersion, Error>, Cause> {
    if row.try_get::<_, Option<i64>>(0)?.is_none() {
        // If the room does not exist, `may_enter` always returns an error.
        return Ok(policy::may_enter(access, None).and(Err(Error::Internal)));
    }
    let version = RoomVersion { head: rows::seq(row, 0)?, control: ControlPosition(rows::count(row, 2)?) };
    Ok(policy::may_enter(access, Some(row.try_get(1)?)).map(|()| version))
}
