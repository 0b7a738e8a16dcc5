//! Validates all frames of the tests against the JSON Schema, in both directions.

use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The URI by which the schema refers to itself.
const DOCUMENT: &str = "http://test.invalid/frames.schema.json";

static FRAMES: LazyLock<Frames> = LazyLock::new(Frames::new);

struct Frames {
    schemas: Schemas,
    client: SchemaIndex,
    server: SchemaIndex,
}

impl Frames {
    fn new() -> Self {
        let document = serde_json::from_str(&chatsphere::http::frames_json()).expect("the schema");
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(DOCUMENT, document).expect("the schema");
        let mut schemas = Schemas::new();
        let mut compile = |name| compiler.compile(&format!("{DOCUMENT}#/$defs/{name}"), &mut schemas).expect("a schema");
        let (client, server) = (compile("ClientFrame"), compile("ServerFrame"));
        Self { schemas, client, server }
    }

    fn check(&self, schema: SchemaIndex, frame: &Value) -> Result<(), String> {
        self.schemas.validate(frame, schema).map_err(|error| format!("not as the schema of frames says: {frame}: {error}"))
    }
}

/// Checks that a client may send the frame.
pub(crate) fn client_frame(frame: &Value) -> Result<(), String> {
    FRAMES.check(FRAMES.client, frame)
}

/// Checks that the server may send the frame. Unknown types are allowed.
pub(crate) fn server_frame(frame: &Value) -> Result<(), String> {
    FRAMES.check(FRAMES.server, frame)
}

/// Panics if no client may send the frame.
#[track_caller]
pub(crate) fn hold_client_frame(frame: &Value) {
    client_frame(frame).unwrap();
}

/// Panics if the server may not send the frame.
#[track_caller]
pub(crate) fn hold_server_frame(frame: &Value) {
    server_frame(frame).unwrap();
}
