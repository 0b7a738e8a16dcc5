use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chatsphere_core::{Caller, Error, InvalidField, TokenRefusal, TokenType, Unavailable};
use chatsphere_net::listener::{Peer, take_stream};
use chatsphere_net::websocket::handshake::{HandshakeError, Subprotocols, UpgradeRequest};

use super::connection::Opening;
use super::{WsState, connection};
use crate::auth::authenticate;
use crate::http::{Failure, acting_as};
use crate::request::bearer;

/// How many rooms a connection may join at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// At `/ws`: many.
    ManyRooms,
    /// At `/`: a join leaves the previous room.
    OneRoom,
}

impl Mode {
    /// The mode that a request asks for; `None` if it is not a WebSocket request.
    pub(super) fn asked(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        match uri.path() {
            "/ws" | "/ws/" => Some(Self::ManyRooms),
            // A proxy that does not forward `Upgrade` still forwards the key. The error then says what is missing.
            "/" if asks_for_websocket(headers) || headers.contains_key(header::SEC_WEBSOCKET_KEY) => Some(Self::OneRoom),
            _ => None,
        }
    }
}

/// Answers WebSocket requests, and passes all others on.
pub(super) async fn intercept(State(state): State<Arc<WsState>>, request: Request, next: Next) -> Response {
    let Some(mode) = Mode::asked(request.uri(), request.headers()) else { return next.run(request).await };
    match accept(state, request, mode).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

/// The credentials in a handshake.
pub(super) enum Credentials {
    /// An authenticated caller.
    Caller(Arc<Caller>),
    /// An invalid token that a browser may have sent. The connection opens, so that a page can read the error.
    Refused(Error),
    /// A CLIENT token in the query. The connection opens, so that a page can read the error.
    ClientInQuery,
    /// A forbidden origin. The connection opens, so that a page can read the error.
    Origin,
    /// None: the first frame must contain a token.
    Awaited,
}

async fn accept(state: Arc<WsState>, mut request: Request, mode: Mode) -> Result<Response, Failure> {
    let asked = Asked { method: request.method(), uri: request.uri(), version: request.version(), headers: request.headers() };
    let Accepted { accept_key, subprotocol, credentials } = match decide(&state, asked).await? {
        Ok(accepted) => accepted,
        Err(error) => return Ok(rejection(error)),
    };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept_key).map_err(|_| Error::Internal)?);
    if let Some(subprotocol) = subprotocol {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    let client = request.extensions().get::<Peer>().map(|peer| peer.addr.ip());
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = state.tasks.clone();
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let taken = take_stream(upgraded);
                let opening = Opening { taken, mode, credentials, answer: Bytes::new(), client };
                connection::run(state, opening).await;
            }
            Err(error) => tracing::debug!(%error, "a connection ended before it became a WebSocket"),
        }
    });
    Ok(response)
}

/// A request that may become a WebSocket.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
}

/// An accepted handshake: its answer and its credentials.
pub(super) struct Accepted {
    pub(super) accept_key: String,
    pub(super) subprotocol: Option<&'static str>,
    pub(super) credentials: Credentials,
}

/// Accepts or rejects a handshake, from either path.
pub(super) async fn decide(state: &WsState, asked: Asked<'_>) -> Result<Result<Accepted, HandshakeError>, Failure> {
    if state.stopping.is_cancelled() {
        return Err(Error::from(Unavailable::Stopping).into());
    }
    if acting_as(asked.uri.query().unwrap_or_default())?.is_some() {
        return Err(Error::from(InvalidField::new("as", "is for REST calls: the frames of a connection take `userId`")).into());
    }
    let headers = asked.headers;
    let accept_key = UpgradeRequest {
        method: asked.method.as_str(),
        http_1_0: asked.version < Version::HTTP_11,
        connection: joined(headers, header::CONNECTION).as_deref(),
        upgrade: joined(headers, header::UPGRADE).as_deref(),
        version: joined(headers, header::SEC_WEBSOCKET_VERSION).as_deref(),
        key: joined(headers, header::SEC_WEBSOCKET_KEY).as_deref(),
    }
    .accept();
    let accept_key = match accept_key {
        Ok(accept_key) => accept_key,
        Err(error) => return Ok(Err(error)),
    };
    let offered = joined(headers, header::SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    let subprotocols = Subprotocols::parse([&*offered]);
    if subprotocols.bears_unanswerably() {
        return Ok(Err(HandshakeError::BearerAlone));
    }
    let shown = shown(state, asked, &subprotocols);
    let subprotocol = subprotocols.selected();
    let credentials = credentials(state, shown).await?;
    Ok(Ok(Accepted { accept_key, subprotocol, credentials }))
}

/// The caller of a token from a page or a frame. An empty token is invalid rather than missing.
pub(super) async fn authenticate_brought(state: &WsState, token: &str) -> Result<Arc<Caller>, Error> {
    authenticate(&state.chat, &state.keys, token).await.map_err(|error| match error {
        Error::Token(TokenRefusal::Missing) => TokenRefusal::Invalid.into(),
        error => error,
    })
}

/// Where a request carries its token, if at all.
enum Shown {
    Origin,
    Header(String),
    Malformed(TokenRefusal),
    Query(String),
    Subprotocol(String),
    Nothing,
}

fn shown(state: &WsState, asked: Asked<'_>, subprotocols: &Subprotocols<'_>) -> Shown {
    if !state.origins.allow(asked.headers) {
        return Shown::Origin;
    }
    match bearer(asked.headers) {
        Ok(token) => return Shown::Header(token.to_owned()),
        Err(TokenRefusal::Missing) => {}
        Err(error) => return Shown::Malformed(error),
    }
    match (query_token(asked.uri.query().unwrap_or_default()), subprotocols.bearer) {
        (Some(token), _) => Shown::Query(token),
        (None, Some(token)) => Shown::Subprotocol(token.to_owned()),
        (None, None) => Shown::Nothing,
    }
}

async fn credentials(state: &WsState, shown: Shown) -> Result<Credentials, Failure> {
    let (token, in_query) = match shown {
        Shown::Origin => return Ok(Credentials::Origin),
        Shown::Nothing => return Ok(Credentials::Awaited),
        // Browsers cannot set this header in a handshake, and other clients can read a 401.
        Shown::Header(token) => return Ok(Credentials::Caller(authenticate(&state.chat, &state.keys, &token).await?)),
        Shown::Malformed(error) => return Err(Error::from(error).into()),
        Shown::Query(token) => (token, true),
        Shown::Subprotocol(token) => (token, false),
    };
    Ok(match authenticate_brought(state, &token).await {
        // A CLIENT token in a URL would leak into histories and proxy logs.
        Ok(caller) if in_query && caller.token_type != TokenType::User => Credentials::ClientInQuery,
        Ok(caller) => Credentials::Caller(caller),
        Err(error) => Credentials::Refused(error),
    })
}

/// Whether `Upgrade` offers a WebSocket, possibly among others (RFC 9110, section 7.8). A server may ignore such an offer.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let offered = joined(headers, header::UPGRADE).unwrap_or_default();
    offered.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

fn rejection(error: HandshakeError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = Failure::new(status, "websocket_handshake", error.to_string()).into_response();
    for (name, value) in error.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// All lines of a header as one list (RFC 9110, section 5.3).
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut list = lines.next()?.to_owned();
    for line in lines {
        list.push(',');
        list.push_str(line);
    }
    Some(list)
}

/// The `token` parameter of a query. A JWT needs no percent-decoding.
fn query_token(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned)
}
