use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chatsphere_core::{Caller, Error, ops};

use super::failure::Failure;
use super::path_ids::{self, PathIds};
use super::query::{Query, acting_as};
use super::state::HttpState;
use super::under_way::UnderWay;
use crate::auth;
use crate::request::bearer;

/// The caller, authenticated by `Authorization: Bearer <token>`. With `?as=` a CLIENT token's caller is the user as whom it acts.
pub(crate) struct Authenticated(pub(crate) Arc<Caller>);

/// A writing call without a body and without parameters in its query: its caller and its path parameters.
pub(crate) struct Call<P = ()> {
    pub(crate) caller: Arc<Caller>,
    pub(crate) path: P,
}

impl<P: PathIds> FromRequestParts<Arc<HttpState>> for Call<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let QueryCall { caller, path, query } = QueryCall::from_request_parts(parts, http).await?;
        query.takes(&[])?;
        Ok(Self { caller, path })
    }
}

/// A writing call without a body, whose parameters in the query its handler reads.
pub(crate) struct QueryCall<P = ()> {
    pub(crate) caller: Arc<Caller>,
    pub(crate) path: P,
    pub(crate) query: Query,
}

impl<P: PathIds> FromRequestParts<Arc<HttpState>> for QueryCall<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, http).await?;
        let query = Query::from_request_parts(parts, http).await?;
        let path = path_ids::read(parts, &caller).await?;
        Ok(Self { caller, path, query })
    }
}

/// Marks a request whose span already records the caller.
#[derive(Clone)]
struct Named;

impl FromRequestParts<Arc<HttpState>> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let token = bearer(&parts.headers).map_err(Error::from)?;
        let caller = auth::authenticate(&http.chat, &http.keys, token).await?;
        let user = acting_as(parts.uri.query().unwrap_or_default())?;
        let caller = match ops::act_as(&http.chat, &caller, user).await? {
            Cow::Borrowed(_) => caller,
            Cow::Owned(acting) => Arc::new(acting),
        };
        // Some calls authenticate twice; the span records the caller once.
        if parts.extensions.insert(Named).is_none() {
            let span = tracing::Span::current();
            span.record("user", tracing::field::display(caller.user.id));
            span.record("token", tracing::field::display(caller.token_id));
        }
        if let Some(under_way) = parts.extensions.get::<UnderWay>() {
            under_way.begin(&http.chat, &caller)?;
        }
        Ok(Self(caller))
    }
}
