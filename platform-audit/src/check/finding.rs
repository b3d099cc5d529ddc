use serde::{Deserialize, Serialize};

use crate::store::literal;

/// What is wrong. The word stored in JSON is the variant's name in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The schema lacks migrations that this version of the toolkit needs.
    MigrationBehind,
    /// The schema was migrated by a newer version of the toolkit.
    MigrationAhead,
    /// The role lacks rights that it needs to write records.
    RightsMissing,
    /// A table is neither guarded nor exempt.
    TableUnguarded,
    /// A trigger of a table's guard is missing, or is not what it should be.
    GuardMissing,
    /// A trigger of a table's guard is disabled.
    GuardDisabled,
    /// A trigger of a table's guard can be switched off by `session_replication_role`.
    GuardNotAlways,
    /// Changes of many rows would not be checked at COMMIT.
    ObligationUnchecked,
    /// A trigger that keeps records from being changed is missing.
    AppendOnlyMissing,
    /// A trigger that keeps records from being changed is disabled, or can be switched off.
    AppendOnlyNotAlways,
    /// The service's role is a superuser, or may become one.
    AppSuperuser,
    /// The service connects as a superuser or the owner, and only acts as a weaker role.
    RoleAssumed,
    /// The service's role owns a table, and so may take its guard.
    AppOwnsTable,
    /// The service's role owns the audit schema, or what the guard in it is made of.
    AppOwnsSchema,
    /// The service's role owns the schema of guarded tables, and so may drop them.
    AppOwnsTablesSchema,
    /// The service's role may give itself any other, such as the owner's.
    AppCreatesRoles,
    /// The service's role may write the server's files or run programs there, as good as a superuser.
    AppWritesFiles,
    /// The service's role may say that large changes have their record.
    ObligationForgeable,
    /// The service's role may put triggers on a guarded table, the records or what the guard is made of.
    TriggerGranted,
    /// The service's role may TRUNCATE a guarded table or the records.
    TruncateGranted,
    /// The service's role may UPDATE or DELETE records.
    RecordChangeGranted,
    /// The service's role may say which transaction wrote a record, or when.
    RecordForgeable,
    /// The service's role may set `session_replication_role`.
    ReplicationRoleGranted,
    /// There is no partition for next month's records.
    PartitionMissing,
    /// Records of a month, or the default ones, are not a part of the log any more.
    PartitionDetached,
    /// The database takes no writes.
    ReadOnly,
    /// The connection does not enforce foreign keys, which the guard on SQLite is made of.
    ForeignKeysOff,
}

/// One thing that breaks the promise, or lets somebody break it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    #[serde(rename = "finding")]
    pub kind: FindingKind,
    /// Where: a table, a role, or the schema.
    pub object: String,
    /// What is wrong and what it means, in a sentence.
    pub message: String,
    /// What to do about it: SQL where SQL can do it.
    pub remedy: String,
}

impl Finding {
    /// Whether the service cannot work with it at all, not even in development.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(
            self.kind,
            FindingKind::MigrationBehind | FindingKind::RightsMissing | FindingKind::ReadOnly
        )
    }
}

/// A finding as the database words it.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    pub(crate) finding: FindingKind,
    pub(crate) object: String,
    #[serde(default)]
    pub(crate) detail: String,
}

impl Found {
    pub(crate) fn new(
        finding: FindingKind,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            finding,
            object: object.into(),
            detail: detail.into(),
        }
    }

    /// In words, for the Postgres schema `schema` of `service` and the service's `role`.
    pub(crate) fn on_postgres(self, schema: &str, service: &str, role: &str) -> Finding {
        use FindingKind as Kind;
        let Self {
            finding,
            object,
            detail,
        } = self;
        let shell = shell(role);
        let role = quoted(role);
        let grantee = literal(&role);
        let own = quoted(&format!("{service}_app"));
        let guard = format!("SELECT {schema}.guard({});", literal(&object));
        let migrate = format!(
            "platform-audit migrate --service {service} --schema {schema} --app-role {shell}"
        );
        let (message, remedy) = match finding {
            Kind::MigrationBehind => (
                format!(
                    "the audit schema {object} lacks {detail}, without which no record can be relied on"
                ),
                format!("As the schema's owner: {migrate}"),
            ),
            Kind::MigrationAhead => (
                format!(
                    "the audit schema {object} has {detail}, which this version of platform-audit does not know"
                ),
                "Deploy the version of the service that was built with the newer platform-audit."
                    .to_owned(),
            ),
            Kind::RightsMissing => (
                format!("the role {role} may not write records into {object}"),
                format!(
                    "SELECT {schema}.grant_app({grantee}); -- if the service connects as {role}; else name its role: platform-audit check --app-role"
                ),
            ),
            Kind::TableUnguarded => (
                format!(
                    "the table {object} is neither guarded nor exempt, so it can be changed without a record"
                ),
                format!(
                    "{guard} -- or, if it needs no records: SELECT {schema}.exempt({}, 'why');",
                    literal(&object)
                ),
            ),
            Kind::GuardMissing => (
                format!(
                    "the guard of {object} lacks its trigger {detail}, so some changes need no record"
                ),
                guard,
            ),
            Kind::GuardDisabled => (
                format!(
                    "the guard's trigger {detail} on {object} is disabled, so changes need no record"
                ),
                guard,
            ),
            Kind::GuardNotAlways => (
                format!(
                    "the guard's trigger {detail} on {object} is not ENABLE ALWAYS, so session_replication_role switches it off"
                ),
                guard,
            ),
            Kind::ObligationUnchecked => (
                format!(
                    "the trigger {detail} on {object} is missing or not ENABLE ALWAYS, so TRUNCATE of a guarded table needs no record"
                ),
                format!(
                    "DROP TRIGGER IF EXISTS {detail} ON {object}; CREATE CONSTRAINT TRIGGER {detail} AFTER INSERT ON {object} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.demand_truncation(); ALTER TABLE {object} ENABLE ALWAYS TRIGGER {detail};"
                ),
            ),
            Kind::AppendOnlyMissing => {
                let event = if detail == "record_no_truncate" {
                    "BEFORE TRUNCATE ON {} FOR EACH STATEMENT"
                } else {
                    "BEFORE UPDATE OR DELETE ON {} FOR EACH ROW"
                };
                (
                    format!("{object} lacks its trigger {detail}, so records can be changed"),
                    format!(
                        "DROP TRIGGER IF EXISTS {detail} ON {object}; CREATE TRIGGER {detail} {} EXECUTE FUNCTION {schema}.refuse_change(); ALTER TABLE {object} ENABLE ALWAYS TRIGGER {detail};",
                        event.replace("{}", &object)
                    ),
                )
            }
            Kind::AppendOnlyNotAlways => (
                format!(
                    "the trigger {detail} on {object} is disabled or not ENABLE ALWAYS, so records can be changed"
                ),
                format!("ALTER TABLE {object} ENABLE ALWAYS TRIGGER {detail};"),
            ),
            Kind::AppSuperuser if object == detail => (
                format!(
                    "the service's role {role} is a superuser, whom nothing in the database stops"
                ),
                format!(
                    "Let the service connect as a role of its own: CREATE ROLE {own} LOGIN; SELECT {schema}.grant_app({}); or, if no administrator needs {role}: ALTER ROLE {role} NOSUPERUSER;",
                    literal(&own)
                ),
            ),
            Kind::AppSuperuser => (
                format!("the service's role {role} may become the superuser {detail}"),
                format!("REVOKE {} FROM {role};", quoted(&detail)),
            ),
            Kind::RoleAssumed => (
                format!(
                    "the service connects as {object}, which is a superuser or may become the owner, and acts as {role}: any statement may go back by RESET ROLE"
                ),
                format!(
                    "ALTER ROLE {role} LOGIN; -- and let the service connect as {role}, or as a member of it that has no other rights"
                ),
            ),
            Kind::AppOwnsTable => (
                format!(
                    "the service's role {role} owns {object} (as {detail}), so it may take its guard or disable its triggers"
                ),
                format!(
                    "ALTER TABLE {object} OWNER TO the_owner_role; -- one that the service cannot become"
                ),
            ),
            Kind::AppOwnsSchema => (
                format!(
                    "the service's role {role} owns the schema {object} or what the guard in it is made of, so it may change what the guard does"
                ),
                format!(
                    "{detail} SELECT {schema}.grant_app({grantee}); -- the_owner_role is one that the service cannot become"
                ),
            ),
            Kind::AppOwnsTablesSchema => (
                format!(
                    "the service's role {role} owns the schema {object} (as {detail}), so it may drop its guarded tables and make others in their place"
                ),
                format!(
                    "ALTER SCHEMA {object} OWNER TO the_owner_role; -- one that the service cannot become"
                ),
            ),
            Kind::PartitionDetached => (
                format!(
                    "the records in {object} are not a part of the log, so nobody finds them, and they can be changed"
                ),
                format!(
                    "ALTER TABLE {schema}.record ATTACH PARTITION {object} {detail}; ALTER TABLE {object} ENABLE ALWAYS TRIGGER record_append_only; -- and find out who detached it, and what was changed since"
                ),
            ),
            Kind::ReadOnly => (
                format!(
                    "the database {object} takes no writes: {}",
                    match detail.as_str() {
                        "standby" => "this server is a standby",
                        _ => "transactions are read-only by a setting",
                    }
                ),
                "Connect to the primary; or, where default_transaction_read_only is on for this role or database, reset it.".to_owned(),
            ),
            Kind::AppCreatesRoles => (
                format!(
                    "the service's role {role} may give itself the owner's role (CREATEROLE of {detail})"
                ),
                format!("ALTER ROLE {} NOCREATEROLE;", quoted(&detail)),
            ),
            Kind::AppWritesFiles => (
                format!(
                    "the service's role {role} may write files of the server or run programs there ({detail}), and so do all that a superuser can"
                ),
                format!("REVOKE {detail} FROM {role};"),
            ),
            Kind::ObligationForgeable => (
                format!(
                    "the service's role {role} may change the sequence {object}, so large changes need no record"
                ),
                format!(
                    "REVOKE ALL ON SEQUENCE {object} FROM {role}; -- and from PUBLIC, if it was granted to all"
                ),
            ),
            Kind::TriggerGranted => (
                format!(
                    "the service's role {role} may put triggers on {object}, which run with the rights of whoever changes it"
                ),
                format!(
                    "REVOKE TRIGGER ON {object} FROM {role}; -- and from PUBLIC, if it was granted to all"
                ),
            ),
            Kind::TruncateGranted => (
                format!("the service's role {role} may TRUNCATE {object}"),
                format!(
                    "REVOKE TRUNCATE ON {object} FROM {role}; -- and from PUBLIC, if it was granted to all"
                ),
            ),
            Kind::RecordChangeGranted => (
                format!("the service's role {role} may {detail} records in {object}"),
                format!(
                    "REVOKE {detail} ON {object} FROM {role}; -- and from PUBLIC, if it was granted to all"
                ),
            ),
            Kind::RecordForgeable => (
                format!(
                    "the service's role {role} may fill {detail} of {object}, which is the database's word"
                ),
                format!(
                    "REVOKE INSERT ON {object} FROM {role}; SELECT {schema}.grant_app({grantee});"
                ),
            ),
            Kind::ReplicationRoleGranted => (
                format!(
                    "the service's role {role} may set session_replication_role, which switches ordinary triggers and foreign keys off"
                ),
                format!("REVOKE SET ON PARAMETER session_replication_role FROM {role};"),
            ),
            Kind::PartitionMissing => (
                format!(
                    "there is no partition {object} for next month's records, which would go to the default one"
                ),
                format!("SELECT {schema}.maintain(3);"),
            ),
            Kind::ForeignKeysOff => (object.clone(), detail),
        };
        Finding {
            kind: finding,
            object,
            message,
            remedy,
        }
    }

    /// In words, for the SQLite tables with `prefix`.
    pub(crate) fn on_sqlite(self, prefix: &str) -> Finding {
        use FindingKind as Kind;
        let Self {
            finding,
            object,
            detail,
        } = self;
        let guard = format!("Audit::new(…).guard([{object:?}]) before start");
        let (message, remedy) = match finding {
            Kind::TableUnguarded => (
                format!("the table {object} is neither guarded nor exempt, so it can be changed without a record"),
                format!("{guard}; or, if it needs no records: .exempt({object:?}, \"why\")"),
            ),
            Kind::GuardMissing => (
                format!("the guard of {object} lacks its trigger {detail}, so some changes need no record"),
                guard,
            ),
            Kind::AppendOnlyMissing => (
                format!("{object} lacks its trigger {detail}, so records can be changed"),
                format!("Make the trigger {detail} again, as the migrations of {prefix} do."),
            ),
            Kind::ForeignKeysOff => (
                "this connection does not enforce foreign keys, so guarded tables cannot be changed through it".to_owned(),
                "PRAGMA foreign_keys = ON; -- for each connection".to_owned(),
            ),
            Kind::MigrationAhead => (
                format!("the audit tables {object} have {detail}, which this version of platform-audit does not know"),
                "Run the version of the service that was built with the newer platform-audit.".to_owned(),
            ),
            _ => (
                format!("the audit tables {object} lack {detail}"),
                "Start the service with write access to the file: it migrates by itself.".to_owned(),
            ),
        };
        Finding {
            kind: finding,
            object,
            message,
            remedy,
        }
    }
}

/// Whether a name needs no quotes, neither in SQL nor in a shell.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// An identifier as SQL takes it: in quotes where it needs them.
fn quoted(name: &str) -> String {
    if is_plain(name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    if is_plain(word) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
