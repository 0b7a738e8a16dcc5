use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chatsphere_core::Caller;

use super::authenticated::Authenticated;
use super::failure::Failure;
use super::path_ids::{self, PathIds};
use super::state::HttpState;
use super::under_way::UnderWay;

/// A read: its caller, after the rate limit, and its path parameters.
pub(crate) struct Read<P = ()> {
    pub(crate) caller: Arc<Caller>,
    pub(crate) path: P,
    pub(crate) under_way: UnderWay,
}

/// A read with a turn, which lasts until the page is encoded.
pub(crate) struct ReadInTurn<P = ()> {
    pub(crate) caller: Arc<Caller>,
    pub(crate) path: P,
}

impl<P: PathIds> FromRequestParts<Arc<HttpState>> for Read<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, http).await?;
        http.chat.count_read(&caller)?;
        // The envelope has inserted it.
        let under_way = parts.extensions.get::<UnderWay>().cloned().unwrap_or_default();
        let path = path_ids::read(parts, &caller).await?;
        Ok(Self { caller, path, under_way })
    }
}

impl<P: PathIds + Send> FromRequestParts<Arc<HttpState>> for ReadInTurn<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let Read { caller, path, under_way } = Read::from_request_parts(parts, http).await?;
        under_way.hold(http.chat.turn(&caller).await?);
        Ok(Self { caller, path })
    }
}
