//! Decides the outcome of each message of a run: stored with a `seq`, a replay of an earlier one, or rejected. A pure function.

use std::collections::HashMap;

use chatsphere_core::store::{Done, NewMessage};
use chatsphere_core::{Access, ClientMessageId, Conflict, Error, Message, NotFound, RoomId, Seq, TokenState, UserId, policy};

use super::outcome::{IdempotencyRecord, Outcome};
use super::quota::Quota;
use crate::write::database::{AppendFacts, IdMap, MessageRow, RoomAdvance};

/// The rows to write and the answers.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// An answer for each message, in the same order.
    pub(super) answers: Vec<Result<Done<Message>, Error>>,
    pub(super) rows: Vec<MessageRow>,
    pub(super) rooms: Vec<RoomAdvance>,
    pub(super) records: Vec<IdempotencyRecord>,
}

pub(super) fn decide(messages: &[&NewMessage], facts: &AppendFacts, quota: &mut Quota) -> Decision {
    let mut deciding = Deciding {
        facts,
        quota,
        decision: Decision::default(),
        rooms: IdMap::default(),
        sent: HashMap::new(),
        answered: HashMap::new(),
    };
    for message in messages {
        let answer = deciding.one(message);
        deciding.decision.answers.push(answer);
    }
    deciding.decision
}

/// Returns the state of the actor's token, if the token exists.
pub(crate) fn state_of<'a>(new: &NewMessage, facts: &'a AppendFacts) -> Option<&'a TokenState> {
    facts.tokens.get(&new.actor.token()?)
}

/// Returns the access of a message, or why it is refused. The facts that it needs are the token, and the user as whom it acts.
pub(crate) fn access_of(new: &NewMessage, facts: &AppendFacts) -> Result<Access, Error> {
    let user = new.actor.user().and_then(|user| facts.acting.get(&user));
    policy::append_access(new, state_of(new, facts), user)
}

struct Deciding<'a> {
    facts: &'a AppendFacts,
    quota: &'a mut Quota,
    decision: Decision,
    /// The index of each room in `decision.rooms`.
    rooms: IdMap<RoomId, usize>,
    /// The `clientMessageId`s that this run stores, with their indexes in `decision.rows`.
    sent: HashMap<(RoomId, UserId, &'a ClientMessageId), usize>,
    /// The `Idempotency-Key`s that this run stores, with the hash of the body and the answer. None has expired, because the
    /// messages of a batch were accepted within seconds.
    answered: HashMap<[u8; 32], ([u8; 32], Message)>,
}

impl<'a> Deciding<'a> {
    fn one(&mut self, new: &'a NewMessage) -> Result<Done<Message>, Error> {
        // Rights are checked before both kinds of idempotency: a former member gets no replay, not even of its own messages.
        self.allowed(new)?;
        if let Some(earlier) = self.same_key(new)? {
            return Ok(Done { value: earlier, replayed: true });
        }
        let done = match self.same_client_id(new)? {
            Some(earlier) => Done { value: earlier, replayed: true },
            None => Done { value: self.store(new)?, replayed: false },
        };
        if let Some(idempotency) = new.idempotency {
            let outcome = Outcome::Message { room: done.value.room_id, seq: done.value.seq };
            self.decision.records.push(IdempotencyRecord { idempotency, outcome, at: new.at });
            self.answered.insert(idempotency.key, (idempotency.body, done.value.clone()));
        }
        Ok(done)
    }

    fn allowed(&self, new: &NewMessage) -> Result<(), Error> {
        let exists = self.facts.rooms.contains_key(&new.room_id);
        let access = access_of(new, self.facts)?;
        let is_member = |user| self.facts.members.contains(&(new.room_id, user));
        policy::may_enter(access, exists.then(|| matches!(access, Access::Member(user) if is_member(user))))?;
        if self.facts.authors.contains_key(&new.author) { Ok(()) } else { Err(Error::NotFound(NotFound::User)) }
    }

    fn same_key(&self, new: &NewMessage) -> Result<Option<Message>, Error> {
        let Some(idempotency) = &new.idempotency else { return Ok(None) };
        if let Some((body, message)) = self.answered.get(&idempotency.key) {
            return if *body == idempotency.body {
                Ok(Some(message.clone()))
            } else {
                Err(Conflict::IdempotencyKeyReused.into())
            };
        }
        let Some(record) = self.facts.records.get(&idempotency.key) else { return Ok(None) };
        if record.is_forgotten(new.at) {
            return Ok(None);
        }
        match record.same(idempotency)? {
            Outcome::Message { room, seq } => self.facts.answered.get(&(*room, *seq)).cloned().map(Some).ok_or(Error::Internal),
            _ => Err(Conflict::IdempotencyKeyReused.into()),
        }
    }

    fn same_client_id(&self, new: &NewMessage) -> Result<Option<Message>, Error> {
        let Some(client_id) = &new.client_message_id else { return Ok(None) };
        let in_this_run = self.sent.get(&(new.room_id, new.author, client_id)).and_then(|index| self.decision.rows.get(*index));
        let earlier = match in_this_run {
            Some(row) => Some((&row.message, row.message.content.as_str())),
            None => {
                let sent = self.facts.sent.get(&(new.room_id, new.author, client_id.clone()));
                sent.map(|sent| (&sent.message, sent.first.as_str()))
            }
        };
        match earlier {
            // Once the first content is erased, it can't be compared.
            Some((_, first)) if !first.is_empty() && first != new.content.as_str() => {
                Err(Conflict::ClientMessageIdReused.into())
            }
            earlier => Ok(earlier.map(|(message, _)| message.clone())),
        }
    }

    fn store(&mut self, new: &'a NewMessage) -> Result<Message, Error> {
        let author = self.facts.authors.get(&new.author).ok_or(Error::NotFound(NotFound::User))?;
        self.quota.take_message(new, state_of(new, self.facts))?;
        let (room_pk, seq) = self.next_seq(new.room_id)?;
        let message = Message {
            id: new.id,
            room_id: new.room_id,
            author: author.user.clone(),
            seq,
            content: new.content.clone(),
            client_message_id: new.client_message_id.clone(),
            created_at: new.at,
            updated_at: new.at,
            details: None,
        };
        if let Some(client_id) = &new.client_message_id {
            self.sent.insert((new.room_id, new.author, client_id), self.decision.rows.len());
        }
        self.decision.rows.push(MessageRow { room_pk, author_pk: author.pk, message: message.clone() });
        Ok(message)
    }

    fn next_seq(&mut self, room: RoomId) -> Result<(i64, Seq), Error> {
        let head = self.facts.rooms.get(&room).ok_or(Error::NotFound(NotFound::Room))?;
        let rooms = &mut self.decision.rooms;
        let index = *self.rooms.entry(room).or_insert_with(|| {
            rooms.push(RoomAdvance { pk: head.pk, seq: head.seq, messages: 0 });
            rooms.len() - 1
        });
        let advance = rooms.get_mut(index).ok_or(Error::Internal)?;
        advance.seq = advance.seq.next();
        advance.messages += 1;
        Ok((advance.pk, advance.seq))
    }
}

#[cfg(test)]
mod tests;
