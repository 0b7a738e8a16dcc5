//! The versions of rooms at this moment. Questions that come while a query is under way share the next one.

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

/// How long questions wait for the query before theirs. Then they are asked beside it: its connection may hang.
const PATIENCE: Duration = Duration::from_millis(50);
/// Questions of one query.
const MAX_QUESTIONS: usize = 256;

/// One row a question, in their order; the first column is null if there is no such room. The LIMITs bind the planner, as in
/// [`join_membership`](super::join_membership).
const VERSIONS: &str = "SELECT r.seq, member.yes IS TRUE, (SELECT position FROM control_head) AS control
    FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS asked (room, reader, place)
    LEFT JOIN LATERAL (SELECT pk, seq FROM rooms WHERE id = asked.room LIMIT 1) AS r ON true
    LEFT JOIN LATERAL (
        SELECT true AS yes FROM members
        WHERE user_pk = (SELECT pk FROM users WHERE id = asked.reader) AND room_pk = r.pk LIMIT 1
    ) AS member ON true
    ORDER BY asked.place";

/// Asks for versions, many at a time.
pub(in crate::postgres) struct Versions {
    reads: Arc<Reads>,
    /// Not asked yet. Whoever adds the first sees to it that they are.
    waiting: Mutex<Vec<Question>>,
    /// Held by the query under way.
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

    /// The version of a room and whether it may be read, as they are after this call began.
    pub(in crate::postgres) async fn ask(self: &Arc<Self>, room: RoomId, access: Access) -> Result<RoomVersion, Error> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(Question { room, access, answer });
            waiting.len() == 1
        };
        if is_first {
            // In a task of its own, since the one who asked first may go away.
            tokio::spawn(Arc::clone(self).answer_waiting());
        }
        answered.await.unwrap_or_else(|_| Err(Unavailable::StoreAway.into()))
    }

    async fn answer_waiting(self: Arc<Self>) {
        let _turn = timeout(PATIENCE, self.turn.lock()).await;
        // Who comes from now on waits for the next query: this one may be under way before they ask.
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
        // Without a room, nobody is admitted.
        return Ok(policy::may_enter(access, None).and(Err(Error::Internal)));
    }
    let version = RoomVersion { head: rows::seq(row, 0)?, control: ControlPosition(rows::count(row, 2)?) };
    Ok(policy::may_enter(access, Some(row.try_get(1)?)).map(|()| version))
}
