//! The JSON Schema of all frames, generated from their types.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{EventFrame, Incoming, ServerFrame, SignalFrame};

/// Returns the JSON Schema (draft 2020-12) of all frames. Its `$defs` has `ClientFrame`, `ServerFrame`, and the types that they
/// refer to.
pub fn frames_schema() -> Value {
    let mut definitions = schemas::<ServerFrame<'_>>();
    definitions.values_mut().for_each(|definition| {
        each_object(definition, &mut never_null);
        open_values(definition);
    });
    add_unknown(&mut definitions);
    definitions.extend(schemas::<Incoming<'_>>());
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ChatSphere's WebSocket frames, protocol 1",
        "description": "Frames, kinds of events, fields and listed values are added, never renamed or removed. Ignore what you \
                        don't know.",
        "anyOf": [{ "$ref": "#/$defs/ClientFrame" }, { "$ref": "#/$defs/ServerFrame" }],
        "$defs": definitions,
    });
    each_object(&mut schema, &mut |object| {
        if let Some(Value::String(reference)) = object.get_mut("$ref") {
            *reference = reference.replace("#/components/schemas/", "#/$defs/");
        }
    });
    schema
}

/// Returns a type's schema and those that it refers to.
fn schemas<T: ToSchema>() -> Map<String, Value> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas.into_iter().filter_map(|(name, schema)| Some((name, serde_json::to_value(schema).ok()?))).collect()
}

/// Adds the schemas of frames and events of unknown types, which the Rust types do not describe.
fn add_unknown(definitions: &mut Map<String, Value>) {
    // The derived schema ignores that `Signal` and `Event` are untagged, so their entries are removed.
    if let Some(forms) = forms(definitions) {
        forms.truncate(forms.len().saturating_sub(2));
    }
    let mut known = Vec::new();
    for name in [&*ServerFrame::name(), &*SignalFrame::name(), "EventKind"] {
        each_object(definitions.get_mut(name).unwrap_or(&mut Value::Null), &mut |object| known.extend(tag(object)));
    }
    let event = EventFrame::name();
    // The part of an event's schema after the kind: the fields of every event.
    let common = definitions.get(&*event).and_then(|event| event["allOf"].as_array()?.last().cloned());
    let known_event = definitions.remove(&*event);
    definitions.extend([
        ("KnownEvent".to_owned(), known_event.unwrap_or_default()),
        (
            "UnknownFrame".to_owned(),
            json!({
                "description": "A frame of a type that this version does not know. With `roomId` and `seq` it is an \
                                `UnknownEvent`; otherwise ignore it.",
                "type": "object",
                "required": ["type"],
                "properties": { "type": { "type": "string", "not": { "enum": known } } },
            }),
        ),
        (
            "UnknownEvent".to_owned(),
            json!({
                "description": "An event of a kind that this version does not know. Move the cursor, and ignore the rest.",
                "allOf": [{ "$ref": "#/$defs/UnknownFrame" }, common],
            }),
        ),
        (
            event.into_owned(),
            json!({
                "description": "A durable event of a room, in `previous_messages.events`.",
                "oneOf": [{ "$ref": "#/$defs/KnownEvent" }, { "$ref": "#/$defs/UnknownEvent" }],
            }),
        ),
    ]);
    if let Some(forms) = forms(definitions) {
        forms.extend(["SignalFrame", "KnownEvent", "UnknownFrame"].map(|name| json!({ "$ref": format!("#/$defs/{name}") })));
    }
}

/// The list of alternatives in the schema of `ServerFrame`.
fn forms(definitions: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
    definitions.get_mut(&*ServerFrame::name())?["oneOf"].as_array_mut()
}

/// The `type` of the frame or event that a schema describes.
fn tag(schema: &Map<String, Value>) -> Option<Value> {
    schema.get("properties")?["type"]["enum"].get(0).cloned()
}

/// Removes null from the types of an object's properties: the server omits absent fields and never sends null.
fn never_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(forms)) = object.get_mut("oneOf") {
        forms.retain(|form| form["type"] != "null");
        if let [Value::Object(only)] = forms.as_slice() {
            let only = only.clone();
            object.remove("oneOf");
            object.extend(only);
        }
    }
}

/// Allows other texts in place of an enumeration, because later versions may add values.
fn open_values(definition: &mut Value) {
    if let Value::Object(object) = definition
        && let Some(values) = object.remove("enum")
    {
        object.remove("type");
        object.insert("anyOf".to_owned(), json!([{ "type": "string", "enum": values }, { "type": "string" }]));
    }
}

/// Applies `change` to each object within a value, including the value itself.
fn each_object(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| each_object(value, change)),
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|value| each_object(value, change));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::ClientFrame;

    fn types(mut value: Value) -> Vec<Value> {
        let mut found = Vec::new();
        each_object(&mut value, &mut |object| found.extend(tag(object)));
        found
    }

    #[test]
    fn every_type_is_described() {
        let schema = frames_schema();
        assert_eq!(types(schema["$defs"]["ClientFrameKind"].clone()), ClientFrame::TYPES);
        let known = types(json!(["ServerFrame", "SignalFrame", "EventKind"].map(|name| &schema["$defs"][name])));
        assert!(
            known.contains(&json!("hello")) && known.contains(&json!("typing")) && known.contains(&json!("member_left")),
            "{known:?}"
        );
        assert!(!known.contains(&json!("event")), "{known:?}");
        assert_eq!(schema["$defs"]["UnknownFrame"]["properties"]["type"]["not"]["enum"], json!(known));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let mut schema = frames_schema();
        let definitions = schema["$defs"].clone();
        each_object(&mut schema, &mut |object| {
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                let name = reference.strip_prefix("#/$defs/");
                assert!(name.is_some_and(|name| definitions.get(name).is_some()), "{reference}");
            }
        });
    }
}
