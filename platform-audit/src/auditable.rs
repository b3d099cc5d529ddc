//! The trait `Auditable`, and the conversion of a resource's fields to recorded values.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

/// A resource whose changes are recorded field by field. Derive it with
/// [`#[derive(Auditable)]`](macro@crate::Auditable).
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

    /// Returns the resource's identifier. It is stored unredacted, so it must not be a secret.
    fn resource_id(&self) -> String;

    /// Adds each recorded field to `fields`.
    fn fields(&self, fields: &mut Fields);
}

macro_rules! impl_auditable_for_pointers {
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
impl_auditable_for_pointers!(&T, Box<T>);

/// Collects a resource's fields. Its `Debug` output omits the values, which are not redacted yet.
#[derive(Default)]
pub struct Fields(Vec<Field>);

/// One field with its unredacted value. It exists only while a change is computed.
#[derive(PartialEq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: FieldValue,
    pub(crate) redacted: bool,
}

/// A field's value. It preserves the redactions of nested resources.
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
    /// Adds a field whose value is recorded.
    pub fn field(&mut self, name: &'static str, value: FieldValue) {
        self.0.push(Field {
            name,
            value,
            redacted: false,
        });
    }

    /// Adds a field whose value is redacted: only the fact that it changed is recorded.
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
    /// Returns the value to store, with the values of redacted nested fields replaced by
    /// `redacted`.
    pub(crate) fn into_stored(self, redacted: &str) -> serde_json::Value {
        use serde_json::Value;
        match self.0 {
            Repr::Plain(value) => value,
            Repr::Resource(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|field| {
                        let value = if field.redacted {
                            Value::from(redacted)
                        } else {
                            field.value.into_stored(redacted)
                        };
                        (field.name.to_owned(), value)
                    })
                    .collect(),
            ),
            Repr::List(items) => Value::Array(
                items
                    .into_iter()
                    .map(|item| item.into_stored(redacted))
                    .collect(),
            ),
            Repr::Map(items) => Value::Object(
                items
                    .into_iter()
                    .map(|(key, item)| (key, item.into_stored(redacted)))
                    .collect(),
            ),
        }
    }
}

/// An [`Auditable`] value, or a standard container of such values. It is recorded through
/// [`Auditable::fields`], so nested redactions apply.
///
/// Any other type, including tuples and the service's own types, is recorded with `Serialize`,
/// which knows no redactions: redact such a field as a whole, or derive [`Auditable`] for its type.
pub trait ContainsResources {
    #[doc(hidden)]
    fn to_field_value(&self) -> FieldValue;
}

impl<T: Auditable + ?Sized> ContainsResources for T {
    fn to_field_value(&self) -> FieldValue {
        FieldValue(Repr::Resource(Fields::of(self)))
    }
}

/// Implements the trait for containers and pointers, and for a `Box` and a reference of each. A
/// blanket implementation for `Box<T>` would conflict with the one for `T: Auditable`, as other
/// crates may implement [`Auditable`] for a `Box` of their own types.
macro_rules! impl_contains_resources {
    ($([$($generics:tt)*] $container:ty, |$this:ident| $value:expr;)*) => {$(
        impl<$($generics)*> ContainsResources for $container {
            fn to_field_value(&self) -> FieldValue {
                let $this = self;
                $value
            }
        }

        impl<$($generics)*> ContainsResources for Box<$container> {
            fn to_field_value(&self) -> FieldValue {
                <$container>::to_field_value(self)
            }
        }

        impl<$($generics)*> ContainsResources for &$container {
            fn to_field_value(&self) -> FieldValue {
                <$container>::to_field_value(self)
            }
        }
    )*};
}
impl_contains_resources! {
    [T: ContainsResources] Option<T>, |this| optional(this.as_ref());
    [T: ContainsResources] [T], |this| list(this);
    [T: ContainsResources, const N: usize] [T; N], |this| list(this);
    [T: ContainsResources] Vec<T>, |this| list(this);
    [T: ContainsResources] VecDeque<T>, |this| list(this);
    [T: ContainsResources] LinkedList<T>, |this| list(this);
    [T: ContainsResources] BinaryHeap<T>, |this| list(this);
    [T: ContainsResources] BTreeSet<T>, |this| list(this);
    [T: ContainsResources, S] HashSet<T, S>, |this| list(this);
    [K: ToString, T: ContainsResources] BTreeMap<K, T>, |this| map(this);
    [K: ToString, T: ContainsResources, S] HashMap<K, T, S>, |this| map(this);
    [T: ContainsResources + ?Sized] Rc<T>, |this| (**this).to_field_value();
    [T: ContainsResources + ?Sized] Arc<T>, |this| (**this).to_field_value();
    [T: ContainsResources + ToOwned + ?Sized] Cow<'_, T>, |this| (**this).to_field_value();
}

fn optional<T: ContainsResources>(value: Option<&T>) -> FieldValue {
    match value {
        Some(inner) => inner.to_field_value(),
        None => FieldValue(Repr::Plain(serde_json::Value::Null)),
    }
}

fn list<'a, T: ContainsResources + 'a>(items: impl IntoIterator<Item = &'a T>) -> FieldValue {
    FieldValue(Repr::List(
        items.into_iter().map(T::to_field_value).collect(),
    ))
}

fn map<'a, K: ToString + 'a, T: ContainsResources + 'a>(
    items: impl IntoIterator<Item = (&'a K, &'a T)>,
) -> FieldValue {
    let items = items.into_iter();
    let items = items.map(|(key, item)| (key.to_string(), item.to_field_value()));
    FieldValue(Repr::Map(items.collect()))
}

/// Selects [`ContainsResources`] for a type that implements it, else `Serialize`, by autoref
/// specialisation: method resolution tries fewer references first. Used by the derive's `value!`.
#[derive(Debug)]
pub struct Probe<'a, T: ?Sized>(pub &'a T);

#[doc(hidden)]
pub trait ViaResources {
    fn audit_value(&self) -> FieldValue;
}

impl<T: ContainsResources + ?Sized> ViaResources for &Probe<'_, T> {
    fn audit_value(&self) -> FieldValue {
        self.0.to_field_value()
    }
}

#[doc(hidden)]
pub trait ViaSerialize {
    fn audit_value(&self) -> FieldValue;
}

impl<T: Serialize + ?Sized> ViaSerialize for Probe<'_, T> {
    fn audit_value(&self) -> FieldValue {
        // A field that cannot be represented as JSON, such as a map with structured keys, is
        // recorded with a placeholder rather than omitted.
        let plain = serde_json::to_value(self.0)
            .unwrap_or_else(|_| serde_json::Value::from("[not representable as JSON]"));
        FieldValue(Repr::Plain(plain))
    }
}
