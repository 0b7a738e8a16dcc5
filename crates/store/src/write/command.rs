//! A write that waits for its turn.

use chatsphere_core::store::{
    Done, ExternalUser, ExternalUserDone, MembershipChange, MembershipChanged, NewMessage, NewRoom, NewToken, NewUser,
    OnAppended, Revocation, UserChange,
};
use chatsphere_core::{Actor, Error, Message, Room, RoomId, Timestamp, Token, TokenWithUser, User};
use tokio::sync::oneshot::Sender;
use tokio::time::Instant;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Request {
    Append(NewMessage),
    CreateUser(NewUser),
    ChangeUser(UserChange),
    PutExternalUser(ExternalUser),
    CreateRoom(NewRoom),
    AddMember(MembershipChange),
    RemoveMember(MembershipChange),
    CreateToken(NewToken),
    RevokeToken(Revocation),
}

impl Request {
    /// What it holds in memory, near enough to bound a queue.
    pub(crate) fn bytes(&self) -> usize {
        let beyond = match self {
            Self::Append(message) => message.content.as_str().len(),
            Self::CreateToken(new) => bytes_of_rooms(&new.token),
            Self::PutExternalUser(user) => user.token.as_ref().map_or(0, bytes_of_rooms),
            _ => 0,
        };
        size_of::<Command>() + beyond
    }

    /// Whether the database is larger afterwards. What the operator does besides messages is little, and must go through.
    pub(crate) fn grows(&self) -> bool {
        match self {
            Self::Append(_) => true,
            Self::ChangeUser(_) | Self::RemoveMember(_) | Self::RevokeToken(_) => false,
            _ => self.actor() != Actor::Operator,
        }
    }

    /// What it stores, as it is counted for quotas: texts as they are, and what rows and their indexes take, roughly.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let bytes = match self {
            Self::Append(new) => return message_bytes(new),
            Self::CreateUser(_) | Self::CreateRoom(_) | Self::PutExternalUser(_) => 1_000,
            Self::AddMember(_) => 400,
            // Its row and the answer that is remembered name its rooms.
            Self::CreateToken(new) => 600 + new.token.permissions.rooms.as_ref().map_or(0, Vec::len) * 100,
            Self::ChangeUser(_) | Self::RemoveMember(_) | Self::RevokeToken(_) => 0,
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// By whose token.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Append(new) => new.actor,
            Self::CreateUser(new) => new.actor,
            Self::ChangeUser(change) => change.actor,
            Self::PutExternalUser(user) => user.actor,
            Self::CreateRoom(new) => new.actor,
            Self::AddMember(change) | Self::RemoveMember(change) => change.actor,
            Self::CreateToken(new) => new.actor,
            Self::RevokeToken(revocation) => revocation.actor,
        }
    }

    /// When it was accepted.
    pub(crate) fn at(&self) -> Timestamp {
        match self {
            Self::Append(new) => new.at,
            Self::CreateUser(new) => new.at,
            Self::ChangeUser(change) => change.at,
            Self::PutExternalUser(user) => user.at,
            Self::CreateRoom(new) => new.at,
            Self::AddMember(change) | Self::RemoveMember(change) => change.at,
            Self::CreateToken(new) => new.token.created_at,
            Self::RevokeToken(revocation) => revocation.at,
        }
    }

    /// Whether it may take rights away from whoever writes: from a token or a user, not from a member of a room.
    pub(crate) fn takes_rights(&self) -> bool {
        match self {
            Self::RevokeToken(_) => true,
            Self::ChangeUser(change) => change.role.is_some() || change.disabled.is_some(),
            Self::PutExternalUser(user) => user.role.is_some(),
            _ => false,
        }
    }

    /// The room whose events it may add to.
    pub(crate) fn room(&self) -> Option<RoomId> {
        match self {
            Self::Append(message) => Some(message.room_id),
            Self::AddMember(change) | Self::RemoveMember(change) => Some(change.room_id),
            _ => None,
        }
    }
}

fn bytes_of_rooms(token: &Token) -> usize {
    token.permissions.rooms.as_ref().map_or(0, |rooms| size_of_val(rooms.as_slice()))
}

/// What a message stores, counted like [`Request::stored_bytes`].
pub(crate) fn message_bytes(new: &NewMessage) -> u64 {
    let texts = new.content.as_str().len() + new.client_message_id.as_ref().map_or(0, |id| id.as_str().len());
    u64::try_from(texts + 200).unwrap_or(u64::MAX)
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Answer {
    Message(Done<Message>),
    User(User),
    ExternalUser(Box<ExternalUserDone>),
    Token(Done<TokenWithUser>),
    Room(Done<Room>),
    Membership(Done<MembershipChanged>),
    Revoked,
}

impl Answer {
    /// Whether something was stored for it.
    pub(crate) fn is_new(&self) -> bool {
        match self {
            Self::Message(done) => !done.replayed,
            Self::Token(done) => !done.replayed,
            Self::Room(done) => !done.replayed,
            Self::Membership(done) => !done.replayed && done.value != MembershipChanged::NotNeeded,
            Self::ExternalUser(done) => done.made || done.token.is_some(),
            Self::User(_) | Self::Revoked => true,
        }
    }
}

/// Who waits for the answer.
pub(crate) enum Reply {
    Message(Sender<Result<Done<Message>, Error>>),
    /// Told through the sink once there is a commit.
    Told(Box<dyn OnAppended>),
    User(Sender<Result<User, Error>>),
    ExternalUser(Sender<Result<ExternalUserDone, Error>>),
    Token(Sender<Result<Done<TokenWithUser>, Error>>),
    Room(Sender<Result<Done<Room>, Error>>),
    Membership(Sender<Result<Done<MembershipChanged>, Error>>),
    Revoked(Sender<Result<(), Error>>),
}

impl Reply {
    /// Answers. Whoever no longer waits misses it.
    pub(crate) fn send(self, answer: Result<Answer, Error>) {
        /// Takes the answer's value if it is of the right kind; a rule that answers with another one is a fault of ours.
        macro_rules! deliver {
            ($sender:expr, $kind:pat => $value:expr) => {{
                let answer = match answer {
                    Ok($kind) => Ok($value),
                    Ok(_) => Err(Error::Internal),
                    Err(error) => Err(error),
                };
                let _ = $sender.send(answer);
            }};
        }
        match self {
            Self::Told(to) => to.tell(as_message(answer)),
            Self::Message(sender) => deliver!(sender, Answer::Message(done) => done),
            Self::User(sender) => deliver!(sender, Answer::User(user) => user),
            Self::ExternalUser(sender) => deliver!(sender, Answer::ExternalUser(done) => *done),
            Self::Token(sender) => deliver!(sender, Answer::Token(done) => done),
            Self::Room(sender) => deliver!(sender, Answer::Room(done) => done),
            Self::Membership(sender) => deliver!(sender, Answer::Membership(done) => done),
            Self::Revoked(sender) => deliver!(sender, Answer::Revoked => ()),
        }
    }
}

/// A rule that answers an append with something else is a fault of ours.
pub(crate) fn as_message(answer: Result<Answer, Error>) -> Result<Done<Message>, Error> {
    match answer {
        Ok(Answer::Message(done)) => Ok(done),
        Ok(_) => Err(Error::Internal),
        Err(error) => Err(error),
    }
}

/// A request, who waits for its answer, and since when.
pub(crate) struct Command {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    pub(crate) since: Instant,
}
