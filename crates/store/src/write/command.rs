//! A queued write of any kind.

use std::sync::Arc;

use chatsphere_core::store::{Ack, AnyWrite, NewMessage, Reply, Submission, Write};
use chatsphere_core::{CommitSink, Committed, Done, Error, Event, Message};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::database::WriteDatabase;
use super::failure::Failure;
use super::rules::{self, Batch, Rule, WriteInfo};

/// A write in the queue of a database `D`.
pub(crate) struct Command<D> {
    pub(crate) work: Work<D>,
    /// When the write was submitted.
    pub(crate) since: Instant,
}

/// The write. Most writes are messages, and runs of them are executed together; every other write is executed separately.
#[allow(clippy::large_enum_variant, reason = "nearly all are messages, which need no allocation of their own")]
pub(crate) enum Work<D> {
    Message(Queued<NewMessage>),
    Other(Box<dyn Task<D>>),
}

impl<D: WriteDatabase> Command<D> {
    /// Converts a write. This is the only place that distinguishes the kinds of writes.
    pub(crate) fn new(write: AnyWrite) -> Self {
        let work = match write {
            AnyWrite::NewMessage(it) => Work::Message(Queued::from(it)),
            AnyWrite::MessageEdit(it) => Work::of(it),
            AnyWrite::MessageDeletion(it) => Work::of(it),
            AnyWrite::VersionsForgotten(it) => Work::of(it),
            AnyWrite::PinChange(it) => Work::of(it),
            AnyWrite::NewUser(it) => Work::of(it),
            AnyWrite::UserChange(it) => Work::of(it),
            AnyWrite::ExternalUser(it) => Work::of(it),
            AnyWrite::NewRoom(it) => Work::of(it),
            AnyWrite::NewMember(it) => Work::of(it),
            AnyWrite::MemberRemoval(it) => Work::of(it),
            AnyWrite::NewToken(it) => Work::of(it),
            AnyWrite::Revocation(it) => Work::of(it),
        };
        Self { work, since: Instant::now() }
    }
}

impl<D: WriteDatabase> Work<D> {
    fn of<W: Rule>(submission: Submission<W>) -> Self {
        Self::Other(Box::new(Queued::from(submission)))
    }
}

impl<D> Command<D> {
    pub(crate) fn is_message(&self) -> bool {
        matches!(self.work, Work::Message(_))
    }

    pub(crate) fn message(&self) -> Option<&NewMessage> {
        if let Work::Message(queued) = &self.work { Some(&queued.write) } else { None }
    }

    pub(crate) fn info(&self) -> &dyn WriteInfo {
        match &self.work {
            Work::Message(queued) => queued.info(),
            Work::Other(task) => task.info(),
        }
    }

    /// Returns the approximate bytes of memory that it takes, to bound the queue.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.info().held_bytes()
    }

    /// Sets the outcome of a write that is not executed.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.waiting().refuse(error);
    }

    /// Sets the outcome of a message.
    pub(crate) fn decided(&mut self, outcome: Result<Done<Message>, Error>) {
        if let Work::Message(queued) = &mut self.work {
            queued.outcome = outcome;
        }
    }

    fn waiting(&mut self) -> &mut dyn Waiting {
        match &mut self.work {
            Work::Message(queued) => queued,
            Work::Other(task) => task.as_mut(),
        }
    }
}

/// Notifies the sink of the committed events and all acknowledgements, then answers the callers that wait.
pub(crate) fn notify<D>(sink: &dyn CommitSink, events: Vec<Arc<Event>>, mut batch: Vec<Command<D>>) {
    let acks: Vec<Ack> = batch.iter_mut().filter_map(|command| command.waiting().take_ack()).collect();
    if !events.is_empty() || !acks.is_empty() {
        sink.committed(Committed { events, acks });
    }
    batch.iter_mut().for_each(|command| command.waiting().reply());
}

/// A write with the recipient of its outcome.
pub(crate) trait Waiting: Send + Sync {
    fn info(&self) -> &dyn WriteInfo;
    fn refuse(&mut self, error: Error);
    /// Takes the outcome, if the sink is to get it with the commit.
    fn take_ack(&mut self) -> Option<Ack>;
    /// Answers the caller, unless the outcome was taken.
    fn reply(&mut self);
}

/// A write that is executed separately.
pub(crate) trait Task<D>: Waiting {
    /// Executes the write within a transaction, which may be rolled back and repeated.
    fn carry_out<'a>(&'a mut self, batch: &'a mut Batch<'_, D>) -> BoxFuture<'a, Result<(), Failure>>;
}

/// A write of one kind, and its outcome so far.
pub(crate) struct Queued<W: Write> {
    write: W,
    /// `None` once the write was answered.
    reply: Option<Reply<W::Answer>>,
    outcome: Result<W::Answer, Error>,
}

impl<W: Write> From<Submission<W>> for Queued<W> {
    fn from(Submission { write, reply }: Submission<W>) -> Self {
        Self { write, reply: Some(reply), outcome: Err(Error::Internal) }
    }
}

impl<W: Write + WriteInfo> Queued<W> {
    fn send(&mut self) -> Option<Ack> {
        let outcome = std::mem::replace(&mut self.outcome, Err(Error::Internal));
        self.reply.take()?.send(self.write.room(), outcome)
    }
}

impl<W: Write + WriteInfo> Waiting for Queued<W> {
    fn info(&self) -> &dyn WriteInfo {
        &self.write
    }

    fn refuse(&mut self, error: Error) {
        self.outcome = Err(error);
    }

    fn take_ack(&mut self) -> Option<Ack> {
        if matches!(self.reply, Some(Reply::Ack(..))) { self.send() } else { None }
    }

    fn reply(&mut self) {
        self.send();
    }
}

impl<W: Rule, D: WriteDatabase> Task<D> for Queued<W> {
    fn carry_out<'a>(&'a mut self, batch: &'a mut Batch<'_, D>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.outcome = rules::within(batch, &self.write).await?;
            Ok(())
        })
    }
}
