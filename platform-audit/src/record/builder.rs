use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Change, InvalidAction, check_action};

/// One additional record of a transaction, created by [`AuditTx::record`](crate::AuditTx::record).
#[derive(Debug)]
pub struct RecordBuilder {
    pub(crate) action: Option<Cow<'static, str>>,
    pub(crate) resource_type: Cow<'static, str>,
    pub(crate) resource_id: String,
    pub(crate) changes: BTreeMap<String, Change>,
    pub(crate) details: Map<String, Value>,
}

impl RecordBuilder {
    /// Sets this record's action. The default is the action of the operation.
    ///
    /// # Errors
    ///
    /// [`InvalidAction`] if `action` is not in the form `noun.verb`. The record then keeps its
    /// previous action.
    pub fn action(
        &mut self,
        action: impl Into<Cow<'static, str>>,
    ) -> Result<&mut Self, InvalidAction> {
        let action = action.into();
        check_action(&action)?;
        self.action = Some(action);
        Ok(self)
    }

    /// Adds `value` to this record's `details` under `name`, and replaces an earlier value.
    ///
    /// A value that cannot be represented as JSON is replaced with a placeholder text.
    pub fn detail(&mut self, name: impl Into<String>, value: impl Serialize) -> &mut Self {
        self.details.insert(name.into(), as_value(value));
        self
    }
}

pub(crate) fn as_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|_| Value::from("[not representable as JSON]"))
}
