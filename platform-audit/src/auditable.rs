//! How a resource shows itself to the audit log: its name, its id and its fields.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

/// A resource whose changes are recorded field by field; derive it.
///
/// ```
/// # #[cfg(feature = "postgres")] {
/// use platform_audit::Auditable;
/// use serde::Serialize;
///
/// #[derive(Auditable, Serialize)]
/// #[audit(resource = "entry")]
/// struct Entry {
///     #[audit(id)]
///     id: u64,
///     amount: i64,
///     #[audit(redact)]
///     iban: String,
/// }
///
/// let entry = Entry { id: 7, amount: 10, iban: "DE02".into() };
/// assert_eq!(entry.resource_id(), "7");
/// # }
/// ```
pub trait Auditable {
    /// The resource's type, such as `entry`.
    const RESOURCE: &'static str;

    /// Which one it is; stored in clear, so never a secret.
    fn resource_id(&self) -> String;

    /// Shows each field to `fields`.
    fn fields(&self, fields: &mut Fields);
}

macro_rules! through_pointer {
    ($($pointer:ty),*) => {$(
        impl<T: Auditable + ?Sized> Auditable for $pointer {
            const RESOURCE: &'static str = T::RESOURCE;
            fn resource_id(&self) -> String {
                (**self).resource_id()
            }
            fn fields(&self, fields: &mut Fields) {
                (**self).fields(fields);
            }
        }
    )*};
}
through_pointer!(&T, Box<T>);

/// Collects a resource's fields. Its contents are in clear, so it shows none of them.
#[derive(Default)]
pub struct Fields(Vec<Field>);

/// One field, with its value in clear: it lives only while a change is worked out.
#[derive(PartialEq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: FieldValue,
    pub(crate) redacted: bool,
}

/// A field's value; a nested resource keeps its own redactions.
#[derive(PartialEq)]
pub struct FieldValue(Repr);

#[derive(PartialEq)]
enum Repr {
    Plain(serde_json::Value),
    Resource(Vec<Field>),
    List(Vec<FieldValue>),
    Map(BTreeMap<String, FieldValue>),
}

impl Fields {
    /// Adds a field shown as it is.
    pub fn field(&mut self, name: &'static str, value: FieldValue) {
        self.0.push(Field {
            name,
            value,
            redacted: false,
        });
    }

    /// Adds a field of which only the fact that it changed is ever shown.
    pub fn redacted(&mut self, name: &'static str, value: FieldValue) {
        self.0.push(Field {
            name,
            value,
            redacted: true,
        });
    }

    pub(crate) fn of<T: Auditable + ?Sized>(resource: &T) -> Vec<Field> {
        let mut fields = Self::default();
        resource.fields(&mut fields);
        fields.0
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields")
            .field("count", &self.0.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FieldValue(..)")
    }
}

impl Field {
    pub(crate) fn same_value(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl FieldValue {
    /// The value as it may be stored, with nested redactions shown as `redacted`.
    pub(crate) fn into_shown(self, redacted: &str) -> serde_json::Value {
        use serde_json::Value;
        match self.0 {
            Repr::Plain(value) => value,
            Repr::Resource(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|field| {
                        let shown = if field.redacted {
                            Value::from(redacted)
                        } else {
                            field.value.into_shown(redacted)
                        };
                        (field.name.to_owned(), shown)
                    })
                    .collect(),
            ),
            Repr::List(items) => Value::Array(
                items
                    .into_iter()
                    .map(|item| item.into_shown(redacted))
                    .collect(),
            ),
            Repr::Map(items) => Value::Object(
                items
                    .into_iter()
                    .map(|(key, item)| (key, item.into_shown(redacted)))
                    .collect(),
            ),
        }
    }
}

/// What is, or holds, resources: shown through [`Auditable::fields`], so that a nested
/// redaction holds. A tuple, or a type of the service's own that has only `Serialize`, is written
/// as it serialises: redact the whole field, or derive [`Auditable`] for it.
pub trait HoldsResources {
    #[doc(hidden)]
    fn shown_value(&self) -> FieldValue;
}

impl<T: Auditable + ?Sized> HoldsResources for T {
    fn shown_value(&self) -> FieldValue {
        FieldValue(Repr::Resource(Fields::of(self)))
    }
}

/// Containers and pointers, each also behind a `Box` and a `&`: spelt out by what these hold, as
/// coherence lets other crates implement [`Auditable`] for a `Box` of their own types.
macro_rules! holding {
    ($([$($generics:tt)*] $container:ty, |$this:ident| $shown:expr;)*) => {$(
        impl<$($generics)*> HoldsResources for $container {
            fn shown_value(&self) -> FieldValue {
                let $this = self;
                $shown
            }
        }

        impl<$($generics)*> HoldsResources for Box<$container> {
            fn shown_value(&self) -> FieldValue {
                <$container>::shown_value(self)
            }
        }

        impl<$($generics)*> HoldsResources for &$container {
            fn shown_value(&self) -> FieldValue {
                <$container>::shown_value(self)
            }
        }
    )*};
}
holding! {
    [T: HoldsResources] Option<T>, |this| optional(this.as_ref());
    [T: HoldsResources] [T], |this| list(this);
    [T: HoldsResources, const N: usize] [T; N], |this| list(this);
    [T: HoldsResources] Vec<T>, |this| list(this);
    [T: HoldsResources] VecDeque<T>, |this| list(this);
    [T: HoldsResources] LinkedList<T>, |this| list(this);
    [T: HoldsResources] BinaryHeap<T>, |this| list(this);
    [T: HoldsResources] BTreeSet<T>, |this| list(this);
    [T: HoldsResources, S] HashSet<T, S>, |this| list(this);
    [K: ToString, T: HoldsResources] BTreeMap<K, T>, |this| map(this);
    [K: ToString, T: HoldsResources, S] HashMap<K, T, S>, |this| map(this);
    [T: HoldsResources + ?Sized] Rc<T>, |this| (**this).shown_value();
    [T: HoldsResources + ?Sized] Arc<T>, |this| (**this).shown_value();
    [T: HoldsResources + ToOwned + ?Sized] Cow<'_, T>, |this| (**this).shown_value();
}

fn optional<T: HoldsResources>(value: Option<&T>) -> FieldValue {
    match value {
        Some(inner) => inner.shown_value(),
        None => FieldValue(Repr::Plain(serde_json::Value::Null)),
    }
}

fn list<'a, T: HoldsResources + 'a>(items: impl IntoIterator<Item = &'a T>) -> FieldValue {
    FieldValue(Repr::List(items.into_iter().map(T::shown_value).collect()))
}

fn map<'a, K: ToString + 'a, T: HoldsResources + 'a>(
    items: impl IntoIterator<Item = (&'a K, &'a T)>,
) -> FieldValue {
    let items = items.into_iter();
    let items = items.map(|(key, item)| (key.to_string(), item.shown_value()));
    FieldValue(Repr::Map(items.collect()))
}

/// The `value!` of the derive: chooses [`HoldsResources`] where the type has it, else
/// `Serialize`, by the order in which method calls add references.
#[derive(Debug)]
pub struct Probe<'a, T: ?Sized>(pub &'a T);

#[doc(hidden)]
pub trait ViaResources {
    fn audit_value(&self) -> FieldValue;
}

impl<T: HoldsResources + ?Sized> ViaResources for &Probe<'_, T> {
    fn audit_value(&self) -> FieldValue {
        self.0.shown_value()
    }
}

#[doc(hidden)]
pub trait ViaSerialize {
    fn audit_value(&self) -> FieldValue;
}

impl<T: Serialize + ?Sized> ViaSerialize for Probe<'_, T> {
    fn audit_value(&self) -> FieldValue {
        // A value that cannot be written as JSON (a map with structured keys) still must not
        // hide that the field exists.
        let plain = serde_json::to_value(self.0)
            .unwrap_or_else(|_| serde_json::Value::from("[not representable as JSON]"));
        FieldValue(Repr::Plain(plain))
    }
}
