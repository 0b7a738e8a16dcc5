//! The API's description (OpenAPI 3.1), generated from the handlers.
//!
//! A handler documents what is specific to it: who may call it, its success, and its error codes. Everything common to all
//! calls is added here, and each code gets an example made from the server's own error.

use std::time::Duration;

use axum::http::Method;
use chatsphere_core::{Conflict, Error, Forbidden, NotFound, RateLimited, TokenRefusal, Unavailable};
use serde_json::{Value, json};
use utoipa::openapi::content::Content;
use utoipa::openapi::example::Example;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Info, License, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response, ResponseBuilder, tag::Tag,
};
use utoipa::{PartialSchema, ToSchema};

use chatsphere_protocol::frames::frames_schema;
use chatsphere_protocol::rest::{FieldError, Problem};

use super::failure::Failure;
use super::query::AS;

const DESCRIPTION: &str = "A self-hosted chat server.\n\n\
    Send a token as `Authorization: Bearer <token>`: a CLIENT token belongs to an application's backend and may do \
    everything, a USER token belongs to a device of one user. A token's `permissions` limit it further; each call names the \
    one that it needs. With `as` a CLIENT token acts as a user, with that user's rights and limits, within its own \
    permissions.\n\n\
    Errors are `application/problem+json`; tell them apart by `code`, which is stable. The field `error` repeats `detail` for \
    clients of the Node.js version.\n\n\
    Lists are bare arrays. The header `Link` has the addresses of the adjacent pages; use them unchanged.\n\n\
    A POST with an `Idempotency-Key` can be sent again safely for 24 hours: a call with the same key \
    does nothing and returns the first answer, with `Idempotency-Replayed: true`.";

const ID: &str = "0198c0de-7c1a-7000-8000-0123456789ab";

/// The metadata of the description.
pub(super) fn head() -> OpenApi {
    let mut info = Info::new("ChatSphere", env!("CARGO_PKG_VERSION"));
    info.description = Some(DESCRIPTION.to_owned());
    let mut license = License::new("MIT");
    license.identifier = Some("MIT".to_owned());
    info.license = Some(license);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A USER or CLIENT token."))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .schema(Problem::name(), Problem::schema())
        .schema(FieldError::name(), FieldError::schema())
        .build();
    let tags = [
        ("profile", "The caller's user"),
        ("users", "Users, managed by a backend"),
        ("rooms", "Rooms"),
        ("members", "The members of rooms"),
        ("messages", "Messages and the other events of rooms"),
        ("tokens", "Tokens"),
        ("health", "For supervisors, load balancers and monitoring"),
    ]
    .map(|(name, description)| {
        let mut tag = Tag::new(name);
        tag.description = Some(description.to_owned());
        tag
    });
    OpenApiBuilder::new().info(info).components(Some(components)).tags(Some(tags)).build()
}

/// The API's description.
pub fn openapi() -> OpenApi {
    let mut document = super::api().into_openapi();
    for (path, item) in &mut document.paths.paths {
        let is_about_a_room = path.starts_with("/api/rooms/{roomId}");
        if let Some(post) = &mut item.post {
            post.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            for (_, response) in post.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
                if let RefOr::T(response) = response {
                    let replayed = header("`true` if this is the answer of an earlier call, and this call did nothing.");
                    response.headers.insert("Idempotency-Replayed".to_owned(), replayed);
                }
            }
        }
        // `Call` refuses parameters that it does not know.
        if let Some(delete) = &mut item.delete {
            delete.responses.responses.entry("400".to_owned()).or_insert_with(|| common("InvalidParameters"));
        }
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
        {
            if operation.security.is_some() {
                add_acting(operation);
            }
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response {
                    describe(status, response);
                    if is_about_a_room && status.starts_with('2') {
                        let about = "The data about the room is at least as new as this event of it.";
                        response.headers.insert("Room-Seq".to_owned(), header(about));
                    }
                }
            }
            add_common_refusals(operation);
        }
    }
    let components = document.components.get_or_insert_default();
    for (name, status, codes) in COMMON {
        let mut response = ResponseBuilder::new().description(codes).build();
        describe(status, &mut response);
        components.responses.insert(name.to_owned(), RefOr::T(response));
    }
    for failure in catalogue() {
        let parts = failure.parts();
        let mut example = Example::new();
        example.value = serde_json::to_value(parts.body("4bf92f3577b34da6a3ce929d0e0e4736")).ok();
        components.examples.insert(parts.code.to_owned(), RefOr::T(example));
    }
    document
}

/// The description as indented JSON; the output is deterministic.
pub fn openapi_json() -> String {
    openapi().to_pretty_json().unwrap_or_default() + "\n"
}

/// The JSON Schema of the WebSocket's frames as indented JSON.
pub fn frames_json() -> String {
    format!("{:#}\n", frames_schema())
}

fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128)).build();
    let mut parameter = Parameter::new("Idempotency-Key");
    parameter.parameter_in = ParameterIn::Header;
    parameter.required = Required::False;
    parameter.description = Some("1 to 128 visible ASCII characters. With a key the call can be sent again safely.".to_owned());
    parameter.schema = Some(RefOr::T(Schema::Object(schema)));
    parameter
}

/// Adds the parameter that all calls with a token take, and its errors.
fn add_acting(operation: &mut Operation) {
    let schema = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let mut parameter = Parameter::new(AS);
    parameter.parameter_in = ParameterIn::Query;
    parameter.required = Required::False;
    let about = "The user as whom a CLIENT token acts, with that user's rights and limits.";
    parameter.description = Some(about.to_owned());
    parameter.schema = Some(RefOr::T(Schema::Object(schema.build())));
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    for (status, code) in [("403", "`not_yourself`"), ("404", "`user_not_found`")] {
        let response = operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(Response::new("")));
        if let RefOr::T(Response { description, .. }) = response
            && !description.contains(code)
        {
            let separator = if description.is_empty() { "" } else { "; " };
            *description = format!("{description}{separator}{code}");
        }
    }
}

/// Errors common to many calls: a name, the status, the codes.
const COMMON: [(&str, &str, &str); 10] = [
    ("Internal", "500", "`internal`"),
    (
        "Unavailable",
        "503",
        "`store_away`, `queue_full`, `disk_full`, `outcome_unknown`, `newer_version`, `authority_stale`, `overloaded`, \
         `stopping`, `timeout`",
    ),
    ("TooManyReads", "429", "`rate_limited`"),
    ("Unauthorized", "401", "`token_missing`, `token_invalid`, `token_expired`, `token_revoked`, `user_disabled`"),
    ("InvalidBody", "400", "`invalid`: a field is invalid; `malformed`: the body is not the JSON that the call accepts"),
    ("InvalidParameters", "400", "`invalid`: a parameter is invalid; `malformed`: the path is not UTF-8"),
    ("InvalidPath", "400", "`malformed`: the path is not UTF-8"),
    ("BodyTooSlow", "408", "`request_timeout`"),
    ("BodyTooLarge", "413", "`body_too_large`"),
    ("NotJson", "415", "`unsupported_media_type`"),
];

/// Adds the errors that follow from a token, a body, or parameters, and those of every call.
fn add_common_refusals(operation: &mut Operation) {
    if operation.tags.iter().flatten().any(|tag| tag == "health") && operation.security.is_none() {
        return;
    }
    let mut names = vec!["Internal", "Unavailable"];
    if operation.security.is_some() {
        names.push("Unauthorized");
    }
    let in_path = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => matches!(parameter.parameter_in, ParameterIn::Path),
        RefOr::Ref(_) => false,
    };
    let has_parameters = operation.parameters.iter().flatten().any(|parameter| !in_path(parameter));
    let has_path = operation.parameters.iter().flatten().any(in_path);
    if operation.request_body.is_some() {
        names.extend(["InvalidBody", "BodyTooSlow", "BodyTooLarge", "NotJson"]);
    } else if has_parameters {
        names.push("InvalidParameters");
    } else if has_path {
        names.push("InvalidPath");
    }
    // Reads and writes both have rate limits.
    if operation.security.is_some() {
        names.push("TooManyReads");
    }
    for (name, status, _) in COMMON.iter().filter(|(name, ..)| names.contains(name)) {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| common(name));
    }
}

/// Refers to one of [`COMMON`].
fn common(name: &str) -> RefOr<Response> {
    RefOr::Ref(Ref::from_response_name(name))
}

/// Adds the headers and examples that follow from the status and the codes in the description.
fn describe(status: &str, response: &mut Response) {
    response.headers.insert("X-Request-Id".to_owned(), header("The id of this request in the server's log."));
    let success = status.starts_with('2');
    if success {
        for content in response.content.values_mut() {
            if let RefOr::T(content) = content {
                content.example = content.schema.as_ref().and_then(example);
                if matches!(content.example, Some(Value::Array(_))) {
                    response.headers.insert("Link".to_owned(), header("The addresses of the adjacent pages (RFC 8288)."));
                }
            }
        }
        return;
    }
    match status {
        "401" => drop(response.headers.insert("WWW-Authenticate".to_owned(), header("RFC 6750, section 3."))),
        "429" | "503" => drop(response.headers.insert("Retry-After".to_owned(), header("Seconds to wait."))),
        _ => {}
    }
    if status == "429" {
        for name in ["RateLimit", "RateLimit-Policy"] {
            response.headers.insert(name.to_owned(), header("draft-ietf-httpapi-ratelimit-headers."));
        }
    }
    let mut content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    for code in codes(&response.description) {
        let example = RefOr::Ref(Ref::new(format!("#/components/examples/{code}")));
        content.examples.insert(code.to_owned(), example);
    }
    response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
}

fn header(description: &str) -> RefOr<Header> {
    let mut header = Header::default();
    header.schema = Some(RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).build())));
    header.description = Some(description.to_owned());
    RefOr::T(header)
}

/// The codes in a description, which are enclosed in backticks.
fn codes(description: &str) -> impl Iterator<Item = &str> {
    description.split('`').skip(1).step_by(2).filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

/// Every error of REST calls.
fn catalogue() -> Vec<Failure> {
    let tokens = [
        TokenRefusal::Missing,
        TokenRefusal::Invalid,
        TokenRefusal::Expired,
        TokenRefusal::Revoked,
        TokenRefusal::UserDisabled,
    ];
    let forbidden = [
        Forbidden::NotAMember,
        Forbidden::ClientOnly,
        Forbidden::NotYourself,
        Forbidden::NeedsRead,
        Forbidden::NeedsWrite,
        Forbidden::NeedsDelete,
        Forbidden::NeedsUnrestricted,
        Forbidden::NotAModerator,
        Forbidden::NotTheAuthor,
        Forbidden::OwnerStays,
        Forbidden::BehindClientToken,
        Forbidden::MoreRights,
    ];
    let absent = [NotFound::User, NotFound::Room, NotFound::Token, NotFound::Message, NotFound::Parent];
    let conflicts = [
        Conflict::UsernameTaken,
        Conflict::UsernameLookalike,
        Conflict::IdempotencyKeyReused,
        Conflict::ClientMessageIdReused,
        Conflict::VersionConflict,
        Conflict::MessageDeleted,
        Conflict::TooManyPins,
    ];
    let unavailable = [
        Unavailable::StoreAway,
        Unavailable::QueueFull,
        Unavailable::DiskFull,
        Unavailable::OutcomeUnknown,
        Unavailable::NewerVersion,
        Unavailable::AuthorityStale,
        Unavailable::Overloaded,
        Unavailable::Stopping,
    ];
    let errors = tokens
        .map(Error::from)
        .into_iter()
        .chain(forbidden.map(Error::from))
        .chain(absent.map(Error::NotFound))
        .chain(conflicts.map(Error::from))
        .chain(unavailable.map(Error::from))
        .chain([
            Error::RateLimited(RateLimited::Messages, Duration::from_millis(50)),
            Error::QuotaExceeded(Duration::from_secs(3_600)),
            Error::Internal,
        ]);
    let mut all: Vec<Failure> = errors.map(Failure::from).collect();
    all.extend([
        Failure::invalid("username", "must have 1 to 64 characters"),
        Failure::malformed("the body is not valid JSON: line 1, column 17"),
        Failure::too_large(256 * 1024),
        Failure::not_json(),
        Failure::slow_body(),
        Failure::timeout(&Method::GET),
    ]);
    all
}

/// An example of a component, or of an array of one.
fn example(schema: &RefOr<Schema>) -> Option<Value> {
    match schema {
        RefOr::Ref(reference) => component(reference.ref_location.rsplit('/').next()?),
        RefOr::T(Schema::Array(_)) => {
            // The type of the items is private to its crate's builder, but not to its JSON.
            let json = serde_json::to_value(schema).ok()?;
            let item = json.pointer("/items/$ref")?.as_str()?.rsplit('/').next()?;
            Some(json!([component(item)?]))
        }
        RefOr::T(_) => None,
    }
}

fn component(name: &str) -> Option<Value> {
    let at = "2026-11-22T09:56:10.473Z";
    let until = "2026-11-29T09:56:10.000Z";
    let user_ref = json!({ "id": ID, "username": "ada" });
    let profile = json!({ "id": ID, "username": "ada", "role": "MEMBER" });
    let room = json!({
        "id": ID, "name": "lobby", "createdAt": at, "updatedAt": at, "seq": 42, "_count": { "messages": 40, "users": 2 },
    });
    let message = json!({
        "id": ID, "roomId": ID, "userId": ID, "seq": 42, "content": "hello", "createdAt": at, "updatedAt": at,
        "clientMessageId": "m-1", "user": user_ref,
    });
    let with = |mut base: Value, more: Value| {
        if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
            base.extend(more);
        }
        base
    };
    Some(match name {
        "Health" => json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }),
        "Ready" => json!({
            "status": "ok", "version": env!("CARGO_PKG_VERSION"), "bus": { "connected": false, "reason": "unauthorized" },
            "signals": "this_node",
        }),
        "ProfileChanged" => json!({ "user": profile }),
        "User" => with(profile, json!({ "disabled": false, "createdAt": at, "updatedAt": at })),
        "UserRef" => user_ref,
        "CreatedUser" => json!({ "user": profile, "token": "eyJhbGciOiJIUzI1NiJ9.…", "tokenId": ID, "expiresAt": until }),
        "ExternalUser" => json!({
            "user": with(profile, json!({ "disabled": false, "externalId": "42", "createdAt": at, "updatedAt": at })),
            "token": "eyJhbGciOiJIUzI1NiJ9.…", "tokenId": ID, "expiresAt": until,
        }),
        "Room" => room,
        "RoomWithUsers" => with(room, json!({ "users": [user_ref] })),
        "Message" => message,
        "DeletedMessage" => with(
            message,
            json!({
                "content": "", "updatedAt": until, "version": 2, "changeSeq": 43, "deletedAt": until, "deletedBy": ID,
            }),
        ),
        "MessageVersion" => json!({ "version": 1, "content": "hello", "createdAt": at, "by": user_ref }),
        "MessageInRoom" => with(message, json!({ "room": { "id": ID, "name": "lobby", "createdAt": at, "updatedAt": at } })),
        "EventFrame" => json!({ "type": "new_message", "roomId": ID, "seq": 42, "message": message }),
        "Done" => json!({ "message": "User added to room successfully" }),
        "Minted" => json!({ "token": "eyJhbGciOiJIUzI1NiJ9.…", "id": ID, "user": profile, "expiresAt": until }),
        "Token" => json!({
            "id": ID, "type": "USER", "userId": ID, "user": user_ref,
            "permissions": { "read": true, "write": true, "delete": true }, "createdAt": at, "expiresAt": until,
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses() -> Vec<(String, String, Response)> {
        let document = openapi();
        let common = document.components.unwrap().responses;
        let mut all = Vec::new();
        for (path, item) in document.paths.paths {
            for operation in [item.get, item.put, item.post, item.delete, item.patch].into_iter().flatten() {
                for (status, response) in operation.responses.responses {
                    let response = match response {
                        RefOr::T(response) => response,
                        RefOr::Ref(reference) => match &common[reference.ref_location.rsplit('/').next().unwrap()] {
                            RefOr::T(response) => response.clone(),
                            RefOr::Ref(_) => panic!("{path}: a reference to a reference"),
                        },
                    };
                    all.push((format!("{path} {:?}", operation.operation_id), status, response));
                }
            }
        }
        all
    }

    #[test]
    fn every_operation_says_what_it_does_and_who_may_call_it() {
        let document = openapi();
        let mut ids = std::collections::HashSet::new();
        for (path, item) in document.paths.paths {
            for operation in [item.get, item.put, item.post, item.delete, item.patch].into_iter().flatten() {
                assert!(operation.summary.is_some_and(|text| !text.is_empty()), "{path}");
                assert!(operation.description.is_some_and(|text| text.contains("Who: ")), "{path}");
                assert!(operation.tags.is_some_and(|tags| !tags.is_empty()), "{path}");
                assert!(ids.insert(operation.operation_id.unwrap()), "{path}");
            }
        }
    }

    /// A code without an error, or under the wrong status, would be a false promise.
    #[test]
    fn every_code_named_is_an_error_of_that_status() {
        let catalogue = catalogue();
        for (operation, status, response) in responses().into_iter().filter(|(_, status, _)| !status.starts_with('2')) {
            let mut named = 0;
            for code in codes(&response.description) {
                let failure = catalogue.iter().find(|failure| failure.parts().code == code);
                let failure = failure.unwrap_or_else(|| panic!("{operation}: no error has the code {code}"));
                assert_eq!(failure.parts().status.as_u16().to_string(), status, "{operation} {code}");
                named += 1;
            }
            assert!(named > 0, "{operation} {status} names no code");
        }
    }

    #[test]
    fn every_answer_has_an_example() {
        for (operation, status, response) in responses() {
            assert!(!response.content.is_empty(), "{operation} {status}");
            for (kind, content) in response.content {
                let RefOr::T(content) = content else { panic!("{operation}: a reference") };
                let shown = content.example.is_some() || !content.examples.is_empty() || kind == "text/plain";
                assert!(shown, "{operation} {status}: {:?}", serde_json::to_string(&content.schema));
            }
        }
    }

    /// Examples must be readable as their types.
    #[test]
    fn examples_are_what_the_types_say() {
        use chatsphere_protocol::frames::EventFrame;
        use chatsphere_protocol::rest;
        fn reads<T: serde::de::DeserializeOwned + serde::Serialize>(name: &str) {
            let example = component(name).unwrap();
            let read: T = serde_json::from_value(example.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), example, "{name}");
        }
        reads::<rest::Health<'static>>("Health");
        reads::<rest::Ready<'static>>("Ready");
        reads::<rest::ProfileChanged<'static>>("ProfileChanged");
        reads::<rest::User<'static>>("User");
        reads::<rest::UserRef<'static>>("UserRef");
        reads::<rest::CreatedUser>("CreatedUser");
        reads::<rest::ExternalUser>("ExternalUser");
        reads::<rest::Room>("Room");
        reads::<rest::RoomWithUsers>("RoomWithUsers");
        reads::<rest::Message<'static>>("Message");
        reads::<rest::DeletedMessage<'static>>("DeletedMessage");
        reads::<rest::MessageVersion<'static>>("MessageVersion");
        reads::<rest::MessageInRoom<'static>>("MessageInRoom");
        reads::<EventFrame<'static>>("EventFrame");
        reads::<rest::Done<'static>>("Done");
        reads::<rest::Minted>("Minted");
        reads::<rest::Token>("Token");
    }

    #[test]
    fn the_description_is_deterministic() {
        assert_eq!(openapi_json(), openapi_json());
        assert!(openapi_json().contains("\"openapi\": \"3.1.0\""));
    }
}
