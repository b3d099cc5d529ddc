use serde::{Deserialize, Serialize};

use crate::sql::literal;

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
    /// The service's role owns the database.
    AppOwnsDatabase,
    /// The service's role may give itself any other, such as the owner's.
    AppCreatesRoles,
    /// The service's role may put triggers on a guarded table.
    TriggerGranted,
    /// The service's role may TRUNCATE a guarded table.
    TruncateGranted,
    /// The service's role may set `session_replication_role`.
    ReplicationRoleGranted,
    /// There is no partition for next month's records.
    PartitionMissing,
    /// The service's role holds a role or an attribute that reaches beyond its own tables.
    AppPrivileged,
    /// A setting of the service's sessions weakens what is promised.
    SettingUnsafe,
    /// An object of the audit schema is not as the migrations made it.
    SchemaDiffers,
    /// A role has a privilege in the audit schema that neither a service nor a reader needs.
    PrivilegeUnexpected,
    /// The database takes no writes.
    ReadOnly,
    /// The connection does not enforce foreign keys, which the guard on SQLite is made of.
    ForeignKeysOff,
    /// A guarded table was changed and committed without its record (SQLite).
    ObligationOpen,
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
    /// Whether the line breaks in the remedy are the migrations', and not a name's in the database.
    #[serde(skip)]
    pub(crate) remedy_has_lines: bool,
}

impl Finding {
    /// Whether the service cannot work with it at all, not even in development.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(
            self.kind,
            FindingKind::MigrationBehind | FindingKind::RightsMissing | FindingKind::ReadOnly
        )
    }

    /// Whether it says that an object of the audit schema has another owner than the schema.
    pub(crate) fn is_of_an_owner(&self) -> bool {
        self.kind == FindingKind::SchemaDiffers && self.message.starts_with("the owner of")
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
            Kind::AppOwnsDatabase => (
                format!(
                    "the service's role {role} owns the database {object} (as {detail}), so it may drop it with all records"
                ),
                format!(
                    "ALTER DATABASE {object} OWNER TO the_owner_role; -- one that the service cannot become"
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
            Kind::AppPrivileged => {
                let attribute = matches!(detail.as_str(), "REPLICATION" | "BYPASSRLS");
                (
                    format!(
                        "the service's role {role} holds {detail}, which reaches beyond its own tables: to other sessions, all data or the server's files"
                    ),
                    if attribute {
                        format!("ALTER ROLE {} NO{detail};", quoted(&object))
                    } else {
                        format!(
                            "REVOKE {} FROM {role}; -- or from the role through which it is a member",
                            quoted(&detail)
                        )
                    },
                )
            }
            Kind::SettingUnsafe => (
                match object.as_str() {
                    "synchronous_commit" => "synchronous_commit is off for the service's sessions, so that a crash of the server loses changes and records that were reported as committed".to_owned(),
                    _ => format!("{object} is not {detail} for the service's sessions, which switches triggers off"),
                },
                format!("ALTER ROLE {role} SET {object} = {detail}; -- or RESET it where it is set: for the role in this database, or by the connection itself"),
            ),
            Kind::TriggerGranted => (
                format!(
                    "the service's role {role} may put triggers on {object}, which run with the rights of whoever changes it"
                ),
                format!(
                    "REVOKE TRIGGER ON {object} FROM {role}; -- and from PUBLIC or a role that it is a member of, if it was granted to that"
                ),
            ),
            Kind::TruncateGranted => (
                format!("the service's role {role} may TRUNCATE {object}"),
                format!(
                    "REVOKE TRUNCATE ON {object} FROM {role}; -- and from PUBLIC or a role that it is a member of, if it was granted to that"
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
            // Worded where they are found.
            Kind::ForeignKeysOff
            | Kind::ObligationOpen
            | Kind::PrivilegeUnexpected
            | Kind::SchemaDiffers => (object.clone(), detail),
        };
        Finding {
            kind: finding,
            object,
            message,
            remedy,
            remedy_has_lines: false,
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
pub(super) fn quoted(name: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_sql_or_a_shell_needs_it() {
        for plain in ["ledger_app", "_x1", "a"] {
            assert_eq!((quoted(plain), shell(plain)), (plain.into(), plain.into()));
        }
        for (name, sql, word) in [
            ("Ledger", "\"Ledger\"", "'Ledger'"),
            ("1x", "\"1x\"", "'1x'"),
            ("ledger-app", "\"ledger-app\"", "'ledger-app'"),
            ("it's", "\"it's\"", r"'it'\''s'"),
            ("a\"b", "\"a\"\"b\"", "'a\"b'"),
            ("", "\"\"", "''"),
        ] {
            assert_eq!((quoted(name), shell(name)), (sql.into(), word.into()));
        }
    }

    fn found(kind: FindingKind, object: &str, detail: &str) -> Finding {
        Found::new(kind, object, detail).on_postgres("ledger_audit", "ledger", "ledger-app")
    }

    #[test]
    fn a_superuser_and_a_member_of_one_have_remedies_of_their_own() {
        let superuser = found(FindingKind::AppSuperuser, "ledger-app", "ledger-app");
        assert!(superuser.message.contains("\"ledger-app\" is a superuser"));
        assert!(
            superuser
                .remedy
                .ends_with("ALTER ROLE \"ledger-app\" NOSUPERUSER;")
        );
        let member = found(FindingKind::AppSuperuser, "ledger-app", "root");
        assert!(member.message.ends_with("may become the superuser root"));
        assert_eq!(member.remedy, "REVOKE root FROM \"ledger-app\";");
    }

    #[test]
    fn what_an_unsafe_setting_does_is_said() {
        let asynchronous = found(FindingKind::SettingUnsafe, "synchronous_commit", "on");
        assert!(asynchronous.message.contains("a crash of the server loses"));
        let replica = found(
            FindingKind::SettingUnsafe,
            "session_replication_role",
            "origin",
        );
        assert!(replica.message.contains("switches triggers off"));
    }

    #[test]
    fn the_command_that_migrates_is_ready_for_a_shell() {
        let behind = found(FindingKind::MigrationBehind, "ledger_audit", "migration 7");
        assert!(behind.remedy.ends_with("--app-role 'ledger-app'"));
    }
}
