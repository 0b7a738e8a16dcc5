use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chatsphere_core::{Caller, Error, Unavailable};

use super::authenticated::Authenticated;
use super::failure::Failure;
use super::path_ids::{self, PathIds};
use super::state::HttpState;
use super::under_way::UnderWay;

/// A call that reads: who calls, within their rate and in their turn, which lasts until the page is encoded, and what its path
/// names.
pub(crate) struct Reading<P = ()> {
    pub(crate) caller: Arc<Caller>,
    pub(crate) path: P,
}

impl<P: PathIds> FromRequestParts<Arc<HttpState>> for Reading<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, http).await?;
        let chat = &http.chat;
        chat.count_read(&caller)?;
        // The envelope has put it there.
        let under_way = parts.extensions.get::<UnderWay>().cloned().unwrap_or_default();
        let check = || if under_way.may_grow() { Ok(()) } else { Err(Error::from(Unavailable::Overloaded)) };
        // Nothing is to be read for an answer that could not be kept; others may have filled the room meanwhile.
        check()?;
        under_way.hold(chat.turn(&caller).await);
        check()?;
        let path = path_ids::read(parts, &caller).await?;
        Ok(Self { caller, path })
    }
}
