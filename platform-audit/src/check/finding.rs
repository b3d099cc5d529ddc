//! The findings of a check.

use serde::{Deserialize, Serialize};

/// The kind of a finding. In JSON, it is the variant's name in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The schema lacks migrations that this version of the toolkit needs.
    MigrationBehind,
    /// A newer version of the toolkit has migrated the schema.
    MigrationAhead,
    /// The service's role lacks privileges that it needs to write records.
    PrivilegesMissing,
    /// A table is neither guarded nor exempt.
    TableUnguarded,
    /// A trigger of a table's guard is missing, or differs from its definition.
    GuardMissing,
    /// A trigger of a table's guard is disabled.
    GuardDisabled,
    /// A trigger of a table's guard is not `ENABLE ALWAYS`, so `session_replication_role` disables
    /// it.
    GuardNotAlways,
    /// The service's role is a superuser, or can become one with `SET ROLE`.
    AppSuperuser,
    /// The service connects as a superuser or the owner, and uses `SET ROLE` to act as a weaker
    /// role.
    RoleAssumed,
    /// The service's role owns a guarded table, so it can remove the guard.
    AppOwnsTable,
    /// The service's role owns the audit schema, or tables or functions of the guard in it.
    AppOwnsSchema,
    /// The service's role owns the schema of guarded tables, so it can drop them.
    AppOwnsTablesSchema,
    /// The service's role owns the database, so it can drop it.
    AppOwnsDatabase,
    /// The service's role has `CREATEROLE`, so it can grant itself other roles, such as the owner.
    AppCreatesRoles,
    /// The service's role can create triggers on a guarded table.
    TriggerGranted,
    /// The service's role can `TRUNCATE` a guarded table.
    TruncateGranted,
    /// The service's role can set `session_replication_role`.
    ReplicationRoleGranted,
    /// The partition for next month's records is missing.
    PartitionMissing,
    /// The service's role has an attribute or is a member of a role that gives access beyond its
    /// own tables.
    AppPrivileged,
    /// A setting of the service's sessions weakens the guarantees.
    SettingUnsafe,
    /// An object of the audit schema differs from the migrations.
    SchemaDiffers,
    /// A role has a privilege on the audit schema that neither a service nor a reader needs.
    PrivilegeUnexpected,
    /// The database is read-only.
    ReadOnly,
    /// The connection does not enforce foreign keys, on which the guard relies (SQLite).
    ForeignKeysOff,
    /// A change of a guarded table was committed without a record (SQLite).
    ObligationOpen,
    /// The log was sealed, and records have not been sealed for more than a minute.
    SealingBehind,
    /// The published log is ahead of the database, or contradicts it.
    LogContradicted,
}

/// A problem that allows a change without a record, or a change of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of problem.
    #[serde(rename = "finding")]
    pub kind: FindingKind,
    /// The affected object: a table, a role, the schema or the database.
    pub object: String,
    /// The problem and its consequence, in one sentence.
    pub message: String,
    /// How to fix it: SQL where possible.
    pub remedy: String,
    /// Whether line breaks in the remedy come from the migrations and may be printed. Otherwise
    /// they come from a name in the database and are escaped.
    #[serde(skip)]
    pub(crate) remedy_is_multiline: bool,
}

impl Finding {
    /// Whether the service cannot run, not even in development.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(
            self.kind,
            FindingKind::MigrationBehind | FindingKind::PrivilegesMissing | FindingKind::ReadOnly
        )
    }

    /// Whether an object of the audit schema has another owner than the schema.
    pub(crate) fn is_owner_mismatch(&self) -> bool {
        self.kind == FindingKind::SchemaDiffers && self.message.starts_with("the owner of")
    }
}

/// A finding as the database reports it, without its message and remedy.
#[derive(Debug, Deserialize)]
pub(crate) struct RawFinding {
    #[serde(rename = "finding")]
    pub(crate) kind: FindingKind,
    pub(crate) object: String,
    #[serde(default)]
    pub(crate) detail: String,
}

impl RawFinding {
    pub(crate) fn new(
        kind: FindingKind,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            object: object.into(),
            detail: detail.into(),
        }
    }
}
