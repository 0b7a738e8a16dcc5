//! Bodies of calls that change something, whose fields are all optional.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use chatsphere_protocol::rest::{ChangeUser, FieldError};
use serde::de::DeserializeOwned;

use super::body::JsonBody;
use super::failure::Failure;
use super::path_ids::PathIds;
use super::state::HttpState;

/// A body that says what to change. What is absent stays as it is.
pub(crate) trait Change: DeserializeOwned {
    /// The fields that the call takes.
    const FIELDS: &'static [&'static str];

    /// Whether none of them is there.
    fn is_empty(&self) -> bool;
}

impl Change for ChangeUser {
    const FIELDS: &'static [&'static str] = &["username", "role", "disabled"];

    fn is_empty(&self) -> bool {
        let Self { username, role, disabled } = self;
        username.is_none() && role.is_none() && disabled.is_none()
    }
}

/// A [`JsonBody`] that changes something. One that has none of its fields is refused: unknown fields are ignored, so a field's
/// wrong name would otherwise look like success.
pub(crate) struct ChangeBody<T, P = ()>(pub(crate) JsonBody<T, P>);

impl<T: Change, P: PathIds> FromRequest<Arc<HttpState>> for ChangeBody<T, P> {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let body = JsonBody::<T, P>::from_request(request, http).await?;
        if body.value.is_empty() { Err(nothing(T::FIELDS)) } else { Ok(Self(body)) }
    }
}

fn nothing(fields: &[&'static str]) -> Failure {
    let list = fields.join(", ");
    let message = format!("at least one of these fields must be there: {list}");
    let errors = fields.iter().map(|field| FieldError { field: (*field).into(), message: message.clone().into() });
    Failure::invalid_fields(format!("there is nothing to change: {message}"), errors.collect())
}
