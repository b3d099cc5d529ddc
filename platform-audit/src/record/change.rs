use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auditable::{Auditable, Field, Fields};

/// What a redacted value is shown as, in every direction of a change.
const REDACTED: &str = "[redacted]";

/// One field's change. A field that did not change has no entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The value before; absent when the resource was created.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub before: Option<Value>,
    /// The value after; absent when the resource was deleted.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub after: Option<Value>,
}

/// Keeps a stored `null` apart from an absent side.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(crate) fn created<T: Auditable + ?Sized>(after: &T) -> BTreeMap<String, Change> {
    Fields::of(after)
        .into_iter()
        .map(|field| {
            (
                field.name.to_owned(),
                Change {
                    before: None,
                    after: Some(field.shown()),
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
                    before: Some(field.shown()),
                    after: None,
                },
            )
        })
        .collect()
}

/// The fields whose values differ. Redacted fields are compared by value and shown redacted.
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
            before: old.map(Field::shown),
            after: Some(new.shown()),
        };
        changes.insert(name.to_owned(), change);
    }
    for (name, gone) in old {
        changes.insert(
            name.to_owned(),
            Change {
                before: Some(gone.shown()),
                after: None,
            },
        );
    }
    changes
}

impl Field {
    fn shown(self) -> Value {
        if self.redacted {
            Value::from(REDACTED)
        } else {
            self.value.into_shown(REDACTED)
        }
    }
}
