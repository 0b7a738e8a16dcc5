use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chatsphere_core::turns::Turn;
use chatsphere_core::{Caller, Error, Outage};

use super::authenticated::Authenticated;
use super::failure::Failure;
use super::state::HttpState;
use super::under_way::UnderWay;

/// Who reads, within their rate, and in their turn.
pub(crate) struct Reading {
    pub(crate) caller: Arc<Caller>,
    /// To be held until the page is encoded.
    pub(crate) turn: Turn,
}

impl FromRequestParts<Arc<HttpState>> for Reading {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, http).await?;
        let chat = &http.chat;
        chat.count_read(&caller)?;
        let account = parts.extensions.get::<UnderWay>().and_then(UnderWay::account).unwrap_or_else(|| chat.account(&caller));
        let check = || if account.may_grow() { Ok(()) } else { Err(Error::from(Outage::Overloaded)) };
        // Nothing is to be read for an answer that could not be kept; others may have filled the room meanwhile.
        check()?;
        let turn = chat.turn(&caller).await;
        check()?;
        Ok(Self { caller, turn })
    }
}
