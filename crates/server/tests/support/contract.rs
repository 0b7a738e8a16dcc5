//! Checks every answer of every test against the API's description.
//!
//! The operation must list the answer's status. The content type, the body and the headers must be as described, and so must
//! the code of a problem. The body of a successful request must be as described too.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use boon::{Compiler, SchemaIndex, Schemas};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::Value;

/// The URI by which the schemas refer to each other.
const DOCUMENT: &str = "http://test.invalid/openapi.json";

/// Headers that answers have only in some cases.
const OPTIONAL: [&str; 2] = ["Link", "Idempotency-Replayed"];

/// Paths that are not described.
const UNDESCRIBED: [&str; 3] = ["/api", "/api/openapi.json", "/api/frames.schema.json"];

/// The differences from the description.
#[derive(Clone, Default)]
pub(crate) struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    #[track_caller]
    pub(crate) fn assert_none(&self) {
        let found = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(found.is_empty(), "not as the API's description says:\n{}", found.join("\n"));
    }

    fn add(&self, violation: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }
}

/// Wraps a router so that all requests and answers are checked.
pub(crate) fn watched(router: Router, violations: Violations) -> Router {
    Router::new().fallback_service(router).layer(from_fn_with_state(violations, watch))
}

async fn watch(State(violations): State<Violations>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if method == Method::OPTIONS || CONTRACT.template(&path).is_none() && !path.starts_with("/api/") {
        return next.run(request).await;
    }
    let sent = Arc::new(Mutex::new(Vec::new()));
    let answer = next.run(tee(request, sent.clone())).await;
    let (head, body) = answer.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            violations.add(format!("{method} {path}: {error}"));
            Bytes::new()
        }
    };
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let outcome = CONTRACT.call(&method, &path, &sent, head.status.as_u16(), &head.headers, &body);
    if let Err(why) = outcome {
        violations.add(format!("{method} {path}: {} {}: {why}", head.status.as_u16(), String::from_utf8_lossy(&body)));
    }
    Response::from_parts(head, Body::from(body))
}

/// Copies what the server reads of a request's body.
fn tee(request: Request, sent: Arc<Mutex<Vec<u8>>>) -> Request {
    let headers = request.headers();
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return request;
    }
    request.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |part| {
            if let Ok(part) = part {
                sent.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(part);
            }
        }))
    })
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::new);

struct Contract {
    document: Value,
    schemas: Schemas,
    by_pointer: HashMap<String, SchemaIndex>,
}

impl Contract {
    fn new() -> Self {
        let document: Value = serde_json::from_str(&chatsphere::http::openapi_json()).expect("the description");
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(DOCUMENT, document.clone()).expect("the description");
        let mut pointers: Vec<String> = Vec::new();
        for (name, _) in document["components"]["schemas"].as_object().expect("schemas") {
            pointers.push(format!("/components/schemas/{name}"));
        }
        described(&document, String::new(), &mut pointers);
        let mut schemas = Schemas::new();
        let compiled = pointers.into_iter().map(|pointer| {
            let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
            let index = compiler.compile(&format!("{DOCUMENT}#{fragment}"), &mut schemas).expect("a schema");
            (pointer, index)
        });
        let by_pointer = compiled.collect();
        Self { document, schemas, by_pointer }
    }

    /// Returns the described path of a request's path.
    fn template(&self, path: &str) -> Option<&str> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let paths = self.document["paths"].as_object().expect("paths");
        let matches = |template: &str| {
            let (mut wanted, mut found) = (template.split('/'), path.split('/'));
            loop {
                match (wanted.next(), found.next()) {
                    (None, None) => return true,
                    (Some(wanted), Some(found)) if wanted == found || (wanted.starts_with('{') && !found.is_empty()) => {}
                    _ => return false,
                }
            }
        };
        let templates = || paths.keys().map(String::as_str);
        templates().find(|template| *template == path).or_else(|| templates().find(|template| matches(template)))
    }

    /// Whether the kind of an event is described. A newer release may have stored others.
    fn is_described(&self, event: &Value) -> bool {
        let kinds = self.document["components"]["schemas"]["EventKind"]["oneOf"].as_array().expect("kinds");
        let mut parts = kinds.iter().flat_map(|kind| kind["allOf"].as_array().into_iter().flatten().chain([kind]));
        parts.any(|part| part["properties"]["type"]["enum"][0] == event["type"])
    }

    fn call(
        &self,
        method: &Method,
        path: &str,
        sent: &[u8],
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), String> {
        let template = self.template(path);
        let described = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_ascii_lowercase() };
        let operation = template.map(|template| format!("/paths/{}/{described}", escaped(template)));
        let operation = operation.filter(|operation| self.document.pointer(operation).is_some());
        let Some(operation) = operation else {
            let beside = UNDESCRIBED.contains(&path) || matches!(status, 404 | 405);
            return if beside { Ok(()) } else { Err("it is not described".to_owned()) };
        };
        let answer = self.resolved(format!("{operation}/responses/{status}"))?;
        let value = &self.document.pointer(&answer).expect("an answer");
        for (name, _) in value["headers"].as_object().into_iter().flatten() {
            if !headers.contains_key(name.as_str()) && !OPTIONAL.contains(&name.as_str()) {
                return Err(format!("the header {name} is missing"));
            }
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let content = value["content"].get(kind).ok_or_else(|| format!("its content type is {kind:?}"))?;
        if *method == Method::HEAD {
            return Ok(());
        }
        if kind.ends_with("json") {
            let mut json: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            if let Some(items) = json.as_array_mut() {
                items.retain(|item| item.get("type").is_none() || item.get("seq").is_none() || self.is_described(item));
            }
            self.holds(&format!("{answer}/content/{}/schema", escaped(kind)), &json)?;
            if let Some(code) = json["code"].as_str().filter(|_| status >= 400)
                && content["examples"].get(code).is_none()
            {
                return Err(format!("the code {code} is not named for this status"));
            }
        }
        let request = format!("{operation}/requestBody/content/application~1json/schema");
        if (200..300).contains(&status) && self.document.pointer(&request).is_some() {
            let sent = sent.strip_prefix("\u{feff}".as_bytes()).unwrap_or(sent);
            let sent: Value = serde_json::from_slice(sent).map_err(|error| format!("the call's body: {error}"))?;
            self.holds(&request, &sent).map_err(|why| format!("it took {sent}, but: {why}"))?;
        }
        Ok(())
    }

    /// Follows references from this place, and returns the place of the value.
    fn resolved(&self, pointer: String) -> Result<String, String> {
        let value = self.document.pointer(&pointer).ok_or("its status is not listed")?;
        match value["$ref"].as_str() {
            Some(reference) => self.resolved(reference.trim_start_matches('#').to_owned()),
            None => Ok(pointer),
        }
    }

    /// Checks a value by the schema at this place of the document.
    fn holds(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let index = self.by_pointer.get(pointer).expect("a schema");
        self.schemas.validate(value, *index).map_err(|error| error.to_string())
    }
}

/// Collects the places of the schemas of bodies.
fn described(value: &Value, pointer: String, found: &mut Vec<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let pointer = format!("{pointer}/{}", escaped(name));
        if name == "application/json" || name == "application/problem+json" {
            if inner.get("schema").is_some() {
                found.push(format!("{pointer}/schema"));
            }
        } else {
            described(inner, pointer, found);
        }
    }
}

/// Escapes a part of a JSON pointer (RFC 6901, section 3).
fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
