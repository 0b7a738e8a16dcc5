//! A write that waits for its turn.

use chatsphere_core::store::{
    Done, ExternalUser, ExternalUserDone, MembershipChange, MembershipChanged, NewMessage, NewRoom, NewToken, NewUser,
    OnAppended, Revocation, UserChange,
};
use chatsphere_core::{Error, Message, Room, RoomId, Token, TokenWithUser, User};
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
