use serde_json::{Map, Value};

/// The members of an object but those that are null or hold nothing, which other schemas do not
/// take. What is deeper stays as it is.
pub(super) fn sparse(value: Value) -> Map<String, Value> {
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
