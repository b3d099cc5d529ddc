use crate::record::AuditRecord;

/// The kind of activity, by which OCSF and FHIR classify events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Create,
    Read,
    Update,
    Delete,
    Other,
}

impl Activity {
    /// Classifies by the changes; without changes by the action's verb, and failing that by the
    /// HTTP method.
    pub(super) fn from_record(record: &AuditRecord) -> Self {
        let by_changes = || {
            let has_before = record
                .changes
                .values()
                .any(|change| change.before.is_some());
            let has_after = record.changes.values().any(|change| change.after.is_some());
            match (has_before, has_after) {
                (false, true) => Some(Self::Create),
                (true, true) => Some(Self::Update),
                (true, false) => Some(Self::Delete),
                (false, false) => None,
            }
        };
        let by_verb = || {
            let verb = record.action.rsplit('.').next()?;
            match verb.split('_').next()? {
                "create" | "add" | "insert" | "open" | "register" => Some(Self::Create),
                "read" | "view" | "list" | "get" | "search" | "export" | "query" => {
                    Some(Self::Read)
                }
                "update" | "change" | "edit" | "set" | "correct" | "rename" => Some(Self::Update),
                "delete" | "remove" | "erase" | "purge" => Some(Self::Delete),
                _ => None,
            }
        };
        let by_method = || match record.method.as_deref()? {
            "GET" | "HEAD" | "QUERY" => Some(Self::Read),
            "PUT" | "PATCH" => Some(Self::Update),
            "DELETE" => Some(Self::Delete),
            _ => None,
        };
        by_changes()
            .or_else(by_verb)
            .or_else(by_method)
            .unwrap_or(Self::Other)
    }
}
