//! The parameters of a call's path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use chatsphere_core::{Caller, Error, MessageId, RoomId, TokenId, UserId, ops};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::failure::Failure;

/// Path parameters, parsed for a caller: the error for an id that is not a UUID depends on the caller.
pub(crate) trait PathIds: Sized {
    /// The path's variable segments, decoded.
    type Texts: DeserializeOwned + Send;

    fn read(texts: Self::Texts, caller: &Caller) -> Result<Self, Error>;
}

/// Parses a call's path parameters.
pub(super) async fn read<P: PathIds>(parts: &mut Parts, caller: &Caller) -> Result<P, Failure> {
    Ok(P::read(texts::<P>(parts).await?, caller)?)
}

/// The variable segments of a call's path, decoded. A path that is not UTF-8 is rejected.
pub(super) async fn texts<P: PathIds>(parts: &mut Parts) -> Result<P::Texts, Failure> {
    let texts = Path::from_request_parts(parts, &()).await;
    let Path(texts) = texts.map_err(|unreadable| Failure::of_status(unreadable.status()))?;
    Ok(texts)
}

impl PathIds for () {
    type Texts = ();

    fn read((): (), _: &Caller) -> Result<Self, Error> {
        Ok(())
    }
}

/// An id assigned by the application.
impl PathIds for String {
    type Texts = Self;

    fn read(text: Self, _: &Caller) -> Result<Self, Error> {
        Ok(text)
    }
}

impl PathIds for RoomId {
    type Texts = String;

    fn read(text: String, caller: &Caller) -> Result<Self, Error> {
        ops::room_id(caller, &text)
    }
}

impl PathIds for MessageId {
    type Texts = String;

    fn read(text: String, _: &Caller) -> Result<Self, Error> {
        Ok(ops::message_id(&text))
    }
}

impl PathIds for UserId {
    type Texts = String;

    fn read(text: String, _: &Caller) -> Result<Self, Error> {
        ops::user_id(&text)
    }
}

impl PathIds for TokenId {
    type Texts = String;

    fn read(text: String, caller: &Caller) -> Result<Self, Error> {
        ops::token_id(caller, &text)
    }
}

impl<A: PathIds<Texts = String>, B: PathIds<Texts = String>> PathIds for (A, B) {
    type Texts = (String, String);

    fn read((first, second): (String, String), caller: &Caller) -> Result<Self, Error> {
        Ok((A::read(first, caller)?, B::read(second, caller)?))
    }
}

/// `{messageId}`, as documented in the API's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described; read as a `MessageId`")]
pub(crate) struct OfMessage {
    /// The message
    #[param(rename = "messageId", format = "uuid")]
    message: String,
}

/// `{roomId}`, as documented in the API's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described; read as a `RoomId`")]
pub(crate) struct InRoom {
    /// The room
    #[param(rename = "roomId", format = "uuid")]
    room: String,
}
