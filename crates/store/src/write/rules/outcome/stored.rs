//! The JSON formats of stored outcomes.
//!
//! The formats are independent of the model: a new field of the model must not make stored answers unreadable after an upgrade.
//! A format is never edited. A new format gets a name of its own beside the earlier ones, and an earlier release answers it
//! with [`Unavailable::NewerVersion`](chatsphere_core::Unavailable::NewerVersion).

use chatsphere_core::store::MembershipChanged;
use chatsphere_core::{
    Email, ExternalId, Permissions, Role, Room, RoomId, RoomName, Seq, Timestamp, Token, TokenId, TokenType, User, UserId,
    Username,
};
use serde::{Deserialize, Serialize};

use super::{Minted, Outcome};

/// All formats, by name.
#[derive(Serialize, Deserialize)]
pub(super) enum Stored {
    Message { room: RoomId, seq: Seq },
    Token(Box<MintedV1>),
    Room(Box<RoomV1>),
    Membership(MembershipV1),
}

#[derive(Serialize, Deserialize)]
pub(super) struct MintedV1 {
    token: TokenV1,
    user: UserV1,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minted_by: Option<TokenId>,
}

#[derive(Serialize, Deserialize)]
struct TokenV1 {
    id: TokenId,
    token_type: TokenType,
    user_id: UserId,
    permissions: Permissions,
    parent: Option<TokenId>,
    email: Option<Email>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct UserV1 {
    id: UserId,
    username: Username,
    role: Role,
    disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_id: Option<ExternalId>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RoomV1 {
    id: RoomId,
    name: RoomName,
    owner: UserId,
    created_at: Timestamp,
    updated_at: Timestamp,
    seq: Seq,
    message_count: u64,
    member_count: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) enum MembershipV1 {
    At(Seq),
    NotNeeded,
}

impl From<&Outcome> for Stored {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Message { room, seq } => Self::Message { room: *room, seq: *seq },
            Outcome::Token(minted) => Self::Token(Box::new(MintedV1::from(&**minted))),
            Outcome::Room(room) => Self::Room(Box::new(RoomV1::from(&**room))),
            Outcome::Membership(MembershipChanged::At(seq)) => Self::Membership(MembershipV1::At(*seq)),
            Outcome::Membership(MembershipChanged::NotNeeded(_)) => Self::Membership(MembershipV1::NotNeeded),
        }
    }
}

impl From<Stored> for Outcome {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Message { room, seq } => Self::Message { room, seq },
            Stored::Token(minted) => Self::Token(Box::new((*minted).into())),
            Stored::Room(room) => Self::Room(Box::new((*room).into())),
            Stored::Membership(MembershipV1::At(seq)) => Self::Membership(MembershipChanged::At(seq)),
            Stored::Membership(MembershipV1::NotNeeded) => Self::Membership(MembershipChanged::NotNeeded(Seq::ZERO)),
        }
    }
}

impl From<&Minted> for MintedV1 {
    fn from(Minted { token, user, minted_by }: &Minted) -> Self {
        let token = TokenV1 {
            id: token.id,
            token_type: token.token_type,
            user_id: token.user_id,
            permissions: token.permissions.clone(),
            parent: token.parent,
            email: token.email.clone(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        };
        let user = UserV1 {
            id: user.id,
            username: user.username.clone(),
            role: user.role,
            disabled: user.disabled,
            external_id: user.external_id.clone(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        };
        Self { token, user, minted_by: *minted_by }
    }
}

impl From<MintedV1> for Minted {
    fn from(MintedV1 { token, user, minted_by }: MintedV1) -> Self {
        let token = Token {
            id: token.id,
            token_type: token.token_type,
            user_id: token.user_id,
            permissions: token.permissions,
            parent: token.parent,
            email: token.email,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        };
        let user = User {
            id: user.id,
            username: user.username,
            role: user.role,
            disabled: user.disabled,
            external_id: user.external_id,
            created_at: user.created_at,
            updated_at: user.updated_at,
        };
        Self { token, user, minted_by }
    }
}

impl From<&Room> for RoomV1 {
    fn from(room: &Room) -> Self {
        Self {
            id: room.id,
            name: room.name.clone(),
            owner: room.owner,
            created_at: room.created_at,
            updated_at: room.updated_at,
            seq: room.seq,
            message_count: room.message_count,
            member_count: room.member_count,
        }
    }
}

impl From<RoomV1> for Room {
    fn from(room: RoomV1) -> Self {
        Self {
            id: room.id,
            name: room.name,
            owner: room.owner,
            created_at: room.created_at,
            updated_at: room.updated_at,
            seq: room.seq,
            message_count: room.message_count,
            member_count: room.member_count,
        }
    }
}
