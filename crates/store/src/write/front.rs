//! The writing half of the port, the same for every database: each call takes its place in the queue.

use std::sync::Arc;

use chatsphere_core::store::{
    Done, ExternalUser, ExternalUserDone, MembershipChange, MembershipChanged, NewMessage, NewRoom, NewToken, NewUser,
    OnAppended, Pending, Revocation, UserChange,
};
use chatsphere_core::{Error, Message, Outage, Room, TokenWithUser, User};
use tokio::sync::watch;

use super::command::{Reply, Request};
use super::queue::Queue;

/// Where writes are handed in. Dropping it lets the writer finish what waits and end.
pub(crate) struct Writes {
    queue: Arc<Queue>,
    /// Closed when the writer has ended.
    ended: watch::Receiver<()>,
}

impl Writes {
    /// `ended` must be closed when the writer has ended.
    pub(crate) fn new(queue: Arc<Queue>, ended: watch::Receiver<()>) -> Self {
        Self { queue, ended }
    }

    pub(crate) fn append(&self, message: NewMessage) -> Pending<Done<Message>> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::Append(message), Reply::Message(sender));
        pending
    }

    pub(crate) fn append_for(&self, message: NewMessage, to: Box<dyn OnAppended>) {
        self.queue.push(Request::Append(message), Reply::Told(to));
    }

    pub(crate) async fn create_user(&self, user: NewUser) -> Result<Done<TokenWithUser>, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::CreateUser(user), Reply::Token(sender));
        pending.await
    }

    pub(crate) async fn change_user(&self, change: UserChange) -> Result<User, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::ChangeUser(change), Reply::User(sender));
        pending.await
    }

    pub(crate) async fn put_external_user(&self, user: ExternalUser) -> Result<ExternalUserDone, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::PutExternalUser(user), Reply::ExternalUser(sender));
        pending.await
    }

    pub(crate) async fn create_room(&self, room: NewRoom) -> Result<Done<Room>, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::CreateRoom(room), Reply::Room(sender));
        pending.await
    }

    pub(crate) async fn add_member(&self, change: MembershipChange) -> Result<Done<MembershipChanged>, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::AddMember(change), Reply::Membership(sender));
        pending.await
    }

    pub(crate) async fn remove_member(&self, change: MembershipChange) -> Result<Done<MembershipChanged>, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::RemoveMember(change), Reply::Membership(sender));
        pending.await
    }

    pub(crate) async fn create_token(&self, token: NewToken) -> Result<Done<TokenWithUser>, Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::CreateToken(token), Reply::Token(sender));
        pending.await
    }

    pub(crate) async fn revoke_token(&self, revocation: Revocation) -> Result<(), Error> {
        let (sender, pending) = Pending::new();
        self.queue.push(Request::RevokeToken(revocation), Reply::Revoked(sender));
        pending.await
    }

    /// Fails once the writer has ended, be it by a panic: nothing would ever be written again.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.ended.has_changed().map(drop).map_err(|_| Outage::StoreAway.into())
    }

    /// Takes no more, and returns when all that waits has been carried out and the writer has ended.
    pub(crate) async fn close(&self) {
        self.queue.close(Outage::Stopping);
        self.ended().await;
    }

    /// Returns when the writer has ended.
    pub(crate) async fn ended(&self) {
        // It never sends; the only change is its end.
        let _ = self.ended.clone().changed().await;
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.queue.close(Outage::Stopping);
    }
}
