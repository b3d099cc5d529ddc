use crate::record::AuditRecord;

/// What was done, in the words that other schemas have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Create,
    Read,
    Update,
    Delete,
    Other,
}

impl Activity {
    /// By what changed; where nothing did, by the action's verb, and failing that by the method.
    pub(super) fn of(record: &AuditRecord) -> Self {
        let changed = || {
            let had = record
                .changes
                .values()
                .any(|change| change.before.is_some());
            let has = record.changes.values().any(|change| change.after.is_some());
            match (had, has) {
                (false, true) => Some(Self::Create),
                (true, true) => Some(Self::Update),
                (true, false) => Some(Self::Delete),
                (false, false) => None,
            }
        };
        let verb = || {
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
        let method = || match record.method.as_deref()? {
            "GET" | "HEAD" | "QUERY" => Some(Self::Read),
            "PUT" | "PATCH" => Some(Self::Update),
            "DELETE" => Some(Self::Delete),
            _ => None,
        };
        changed()
            .or_else(verb)
            .or_else(method)
            .unwrap_or(Self::Other)
    }
}
