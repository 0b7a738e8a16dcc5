//! A write that waits for its turn, whatever its kind.

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
    /// When it was submitted.
    pub(crate) since: Instant,
}

/// What is to be done. Messages are most of it, and runs of them are carried out together; everything else one by one.
#[allow(clippy::large_enum_variant, reason = "nearly all are messages, which need no allocation of their own")]
pub(crate) enum Work<D> {
    Message(Queued<NewMessage>),
    Other(Box<dyn Task<D>>),
}

impl<D: WriteDatabase> Command<D> {
    /// The one place that tells the kinds of writes apart.
    pub(crate) fn new(write: AnyWrite) -> Self {
        let work = match write {
            AnyWrite::NewMessage(it) => Work::Message(Queued::from(it)),
            AnyWrite::MessageEdit(it) => Work::of(it),
            AnyWrite::VersionsForgotten(it) => Work::of(it),
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

    /// What it holds in memory, near enough to bound a queue.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.info().held_bytes()
    }

    /// It is not carried out.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.waiting().refuse(error);
    }

    /// It was carried out as a message.
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

/// Tells the sink of what was committed, with all acknowledgements, and then whoever waits for an answer.
pub(crate) fn tell<D>(sink: &dyn CommitSink, events: Vec<Arc<Event>>, mut batch: Vec<Command<D>>) {
    let acks: Vec<Ack> = batch.iter_mut().filter_map(|command| command.waiting().take_ack()).collect();
    if !events.is_empty() || !acks.is_empty() {
        sink.committed(Committed { events, acks });
    }
    batch.iter_mut().for_each(|command| command.waiting().reply());
}

/// Somebody waits for what becomes of a write.
pub(crate) trait Waiting: Send + Sync {
    fn info(&self) -> &dyn WriteInfo;
    fn refuse(&mut self, error: Error);
    /// The outcome, if it is to travel with the commit.
    fn take_ack(&mut self) -> Option<Ack>;
    /// Answers, unless the outcome was taken.
    fn reply(&mut self);
}

/// A write that is carried out by itself.
pub(crate) trait Task<D>: Waiting {
    /// Within a transaction, which may be undone and begun anew.
    fn carry_out<'a>(&'a mut self, batch: &'a mut Batch<'_, D>) -> BoxFuture<'a, Result<(), Failure>>;
}

/// A write of a certain kind, and its outcome so far.
pub(crate) struct Queued<W: Write> {
    write: W,
    /// `None` once it was answered.
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
