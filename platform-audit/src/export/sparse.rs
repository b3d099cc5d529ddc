use serde_json::{Map, Value};

/// Removes the members of an object that are null or empty, which other schemas do not accept.
/// Nested objects are not changed.
pub(super) fn without_empty(value: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = value else {
        return Map::new();
    };
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
    fields
}
