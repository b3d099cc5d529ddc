use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auditable::{Auditable, Field, Fields};

/// Replaces both values of a redacted field.
const REDACTED: &str = "[redacted]";

/// The values of one field before and after a change. Unchanged fields are not recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The value before; absent when the resource was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after; absent when the resource was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Accepts only an object with `before`, `after` or both, and distinguishes `null` from an absent
/// value. A derived implementation would also accept an array of two values.
impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sides = Map::deserialize(deserializer)?;
        let change = Self {
            before: sides.remove("before"),
            after: sides.remove("after"),
        };
        let is_empty = change.before.is_none() && change.after.is_none();
        if is_empty || !sides.is_empty() {
            return Err(D::Error::custom(
                "a change is an object with `before`, `after` or both",
            ));
        }
        Ok(change)
    }
}

pub(crate) fn created<T: Auditable + ?Sized>(after: &T) -> BTreeMap<String, Change> {
    Fields::of(after)
        .into_iter()
        .map(|field| {
            (
                field.name.to_owned(),
                Change {
                    before: None,
                    after: Some(field.into_stored()),
                },
            )
        })
        .collect()
}

pub(crate) fn deleted<T: Auditable + ?Sized>(before: &T) -> BTreeMap<String, Change> {
    Fields::of(before)
        .into_iter()
        .map(|field| {
            (
                field.name.to_owned(),
                Change {
                    before: Some(field.into_stored()),
                    after: None,
                },
            )
        })
        .collect()
}

/// Returns the fields whose values differ. Redacted fields are compared before they are redacted.
pub(crate) fn updated<T: Auditable + ?Sized>(before: &T, after: &T) -> BTreeMap<String, Change> {
    let mut old: BTreeMap<&'static str, Field> = Fields::of(before)
        .into_iter()
        .map(|field| (field.name, field))
        .collect();
    let mut changes = BTreeMap::new();
    for new in Fields::of(after) {
        let name = new.name;
        let old = old.remove(name);
        if old.as_ref().is_some_and(|old| old.same_value(&new)) {
            continue;
        }
        let change = Change {
            before: old.map(Field::into_stored),
            after: Some(new.into_stored()),
        };
        changes.insert(name.to_owned(), change);
    }
    for (name, old) in old {
        changes.insert(
            name.to_owned(),
            Change {
                before: Some(old.into_stored()),
                after: None,
            },
        );
    }
    changes
}

impl Field {
    /// Returns the value to store, with redactions applied.
    fn into_stored(self) -> Value {
        if self.redacted {
            Value::from(REDACTED)
        } else {
            self.value.into_stored(REDACTED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Change;
    use serde_json::json;

    #[test]
    fn a_change_is_an_object_with_before_or_after() {
        for change in [
            json!({"before": 1}),
            json!({"after": null}),
            json!({"before": null, "after": [1, 2]}),
        ] {
            let read: Change = serde_json::from_value(change.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), change);
        }
        for other in [
            json!([1, 2]),
            json!([]),
            json!({}),
            json!({"after": 1, "by": "eve"}),
            json!({"Before": 1}),
            json!(null),
            json!("5"),
        ] {
            let read = serde_json::from_value::<Change>(other.clone());
            assert!(read.is_err(), "{other}");
        }
    }
}
