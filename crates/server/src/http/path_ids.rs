//! The ids in a call's path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use chatsphere_core::{Caller, Error, RoomId, TokenId, UserId, ops};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::failure::Failure;

/// What a path names, read for a caller: what an id that is no UUID means depends on who asks.
pub(crate) trait PathIds: Sized {
    /// The path's variable segments, decoded.
    type Texts: DeserializeOwned + Send;

    fn read(texts: Self::Texts, caller: &Caller) -> Result<Self, Error>;
}

/// Reads what a call's path names.
pub(super) async fn read<P: PathIds>(parts: &mut Parts, caller: &Caller) -> Result<P, Failure> {
    Ok(P::read(texts::<P>(parts).await?, caller)?)
}

/// The variable segments of a call's path, decoded. A path that is not UTF-8 is refused.
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

/// An id of the application's own.
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

/// `{roomId}`, as the API's description shows it.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described; read as a `RoomId`")]
pub(crate) struct InRoom {
    /// The room
    #[param(rename = "roomId", format = "uuid")]
    room: String,
}
