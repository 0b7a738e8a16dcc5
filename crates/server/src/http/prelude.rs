//! Common imports of endpoints.

use std::sync::Arc;

pub(super) use axum::Json;
pub(super) use axum::extract::State;
pub(super) use axum::http::StatusCode;
pub(super) use axum::response::{IntoResponse, Response};
pub(super) use chatsphere_core::{Caller, MessageId, RoomId, TokenId, UserId, ops};
pub(super) use utoipa_axum::router::OpenApiRouter;
pub(super) use utoipa_axum::routes;

pub(super) use super::authenticated::{Call, QueryCall};
pub(super) use super::body::JsonBody;
pub(super) use super::change::ChangeBody;
pub(super) use super::failure::Failure;
pub(super) use super::idempotency::Replayed;
pub(super) use super::json_list::{self, JsonList};
pub(super) use super::link::Links;
pub(super) use super::path_ids::{InRoom, OfMessage};
pub(super) use super::query::{AS, EventsParams, HistoryParams, PageParams, Query};
pub(super) use super::reading::{Read, ReadInTurn};
pub(super) use super::room_seq::RoomSeq;
pub(super) use super::state::HttpState;
pub(super) use crate::auth::List;
pub(super) use crate::wire;

/// The state of the REST front door, as extracted by handlers.
pub(super) type Http = State<Arc<HttpState>>;

/// Routes with their description.
pub(super) type Routes = OpenApiRouter<Arc<HttpState>>;
