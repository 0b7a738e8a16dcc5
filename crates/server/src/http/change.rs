//! Bodies of calls that change a resource; all their fields are optional.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use chatsphere_protocol::rest::{ChangeUser, EditMessage, FieldError};
use serde::de::DeserializeOwned;

use super::body::JsonBody;
use super::failure::Failure;
use super::path_ids::PathIds;
use super::query::Query;
use super::state::HttpState;

/// A body that lists changes. Absent fields keep their values.
pub(crate) trait Change: DeserializeOwned {
    /// The fields that the call accepts.
    const FIELDS: &'static [&'static str];

    /// Whether all fields are absent.
    fn is_empty(&self) -> bool;
}

impl Change for ChangeUser {
    const FIELDS: &'static [&'static str] = &["username", "role", "disabled"];

    fn is_empty(&self) -> bool {
        let Self { username, role, disabled } = self;
        username.is_none() && role.is_none() && disabled.is_none()
    }
}

impl Change for EditMessage {
    const FIELDS: &'static [&'static str] = &["content"];

    fn is_empty(&self) -> bool {
        self.content.is_none()
    }
}

/// A [`JsonBody`] with changes, of a call without parameters in its query. A body without any known field is rejected: unknown
/// fields are ignored, so a misspelt name would otherwise appear to succeed.
pub(crate) struct ChangeBody<T, P = ()>(pub(crate) JsonBody<T, P>);

impl<T: Change, P: PathIds> FromRequest<Arc<HttpState>> for ChangeBody<T, P> {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let query = Query::from_request_parts(&mut parts, http).await?;
        let body = JsonBody::<T, P>::from_request(Request::from_parts(parts, body), http).await?;
        query.takes(&[])?;
        if body.value.is_empty() { Err(nothing(T::FIELDS)) } else { Ok(Self(body)) }
    }
}

fn nothing(fields: &[&'static str]) -> Failure {
    let list = fields.join(", ");
    let message = format!("at least one of these fields must be there: {list}");
    let errors = fields.iter().map(|field| FieldError { field: (*field).into(), message: message.clone().into() });
    Failure::invalid_fields(format!("there is nothing to change: {message}"), errors.collect())
}
