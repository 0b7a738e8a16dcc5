//! Error answers of calls: the only place that maps errors to HTTP statuses.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use chatsphere_core::{Error, InvalidField, RateLimited, TokenRefusal, Unavailable};
use chatsphere_protocol::rest::{FieldError, Problem};

/// An error answer. It travels in the response's extensions to [`super::envelope`], which knows the request id and writes the
/// body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) fields: Vec<FieldError<'static>>,
    pub(crate) hint: Hint,
}

/// Additional headers of an error answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    /// `Retry-After`.
    RetryAfter(Duration),
    /// `Retry-After`, `RateLimit` and `RateLimit-Policy`.
    RateLimited(RateLimited, Duration),
    /// The same headers for the demo's rate limit.
    DemoLimited(Duration),
    /// `Accept-Encoding: identity` (RFC 9110, section 12.5.3).
    AcceptEncoding,
    /// `WWW-Authenticate` (RFC 6750, section 3), with an error code if a token was sent.
    Challenge(TokenRefusal),
}

impl Parts {
    /// The body (RFC 9457).
    pub(crate) fn body<'a>(&'a self, request_id: &'a str) -> Problem<'a> {
        Problem {
            problem_type: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail: self.detail.as_ref().into(),
            code: self.code.into(),
            request_id: request_id.into(),
            error: self.detail.as_ref().into(),
            errors: self.fields.clone(),
        }
    }
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts { status, code, detail: detail.into(), fields: Vec::new(), hint: Hint::None }))
    }

    /// A field, parameter or header is invalid.
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        let (field, message) = (field.into(), message.into());
        let mut failure = Self::new(StatusCode::BAD_REQUEST, "invalid", format!("{field}: {message}"));
        failure.0.fields.push(FieldError { field, message });
        failure
    }

    /// Several fields are invalid, or all of them are absent.
    pub(crate) fn invalid_fields(detail: impl Into<Cow<'static, str>>, fields: Vec<FieldError<'static>>) -> Self {
        let mut failure = Self::new(StatusCode::BAD_REQUEST, "invalid", detail);
        failure.0.fields = fields;
        failure
    }

    /// The body is not the JSON that this call accepts.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    pub(crate) fn not_json() -> Self {
        let detail = "send the body as JSON, with `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// The body has a content coding.
    pub(crate) fn encoded(coding: &'static str) -> Self {
        let detail = format!("send the body as it is: `Content-Encoding: {coding}` is not taken");
        let mut failure = Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
        failure.0.hint = Hint::AcceptEncoding;
        failure
    }

    /// The body arrived too slowly.
    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive in time")
    }

    /// The call took too long. A write may have taken effect; a read can be repeated.
    pub(crate) fn timeout(method: &Method) -> Self {
        if !method.is_safe() {
            return Error::Unavailable(Unavailable::OutcomeUnknown).into();
        }
        let detail = "the server did not answer in time: try again";
        let mut failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail);
        failure.0.hint = Hint::RetryAfter(Duration::from_secs(1));
        failure
    }

    /// The address exceeded the demo's rate limit.
    pub(crate) fn demo_limited(wait: Duration) -> Self {
        let detail = format!("too many calls of this address: wait {} ms", wait.as_millis());
        let mut failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        failure.0.hint = Hint::DemoLimited(wait);
        failure
    }

    pub(crate) fn forbidden(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// The error of a status that came from the router or an extractor.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => {
                Self::new(status, "route_not_found", "there is nothing at this path; /docs lists what there is")
            }
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "method_not_allowed",
                "this path does not take this method; the header Allow lists those it takes",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "body_too_large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::not_json(),
            StatusCode::REQUEST_TIMEOUT => Self::slow_body(),
            status if status.is_server_error() => Self::from(Error::Internal),
            status => Self::new(status, "malformed", "the request can't be read"),
        }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Invalid(field) => return field.clone().into(),
            Error::Token(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::RateLimited(..) | Error::QuotaExceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut failure = Self::new(status, error.code(), error.to_string());
        failure.0.hint = match error {
            Error::Token(refusal) => Hint::Challenge(refusal),
            Error::RateLimited(what, wait) => Hint::RateLimited(what, wait),
            Error::QuotaExceeded(wait) => Hint::RetryAfter(wait),
            Error::Unavailable(unavailable) => Hint::RetryAfter(unavailable.retry_after()),
            _ => Hint::None,
        };
        failure
    }
}

impl From<InvalidField> for Failure {
    fn from(field: InvalidField) -> Self {
        Self::invalid(field.field, field.message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
