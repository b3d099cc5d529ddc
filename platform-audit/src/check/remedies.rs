//! The messages and remedies of findings on Postgres.

use super::finding::{Finding, FindingKind, RawFinding};
use crate::sql::{literal, quoted, shell_quoted};

impl RawFinding {
    /// Adds the message and the remedy, for the audit schema `schema` of `service` and the
    /// service's `role`.
    pub(crate) fn with_postgres_remedy(self, schema: &str, service: &str, role: &str) -> Finding {
        let (message, remedy) = Problem {
            schema,
            service,
            app_role: role,
            role: &quoted(role),
            object: &self.object,
            detail: &self.detail,
        }
        .explain(self.kind);
        Finding {
            kind: self.kind,
            object: self.object,
            message,
            remedy,
            remedy_is_multiline: false,
        }
    }
}

/// The names from which a finding's message and remedy are built.
struct Problem<'a> {
    /// The audit schema.
    schema: &'a str,
    service: &'a str,
    /// The service's role, unquoted.
    app_role: &'a str,
    /// The service's role, quoted where SQL requires it.
    role: &'a str,
    object: &'a str,
    detail: &'a str,
}

impl Problem<'_> {
    /// Returns the message and the remedy.
    fn explain(&self, kind: FindingKind) -> (String, String) {
        use FindingKind as Kind;
        let Self {
            schema,
            service,
            app_role,
            role,
            object,
            detail,
        } = *self;
        match kind {
            // The audit schema.
            Kind::MigrationBehind => (
                format!("the audit schema {object} lacks {detail}, so no records can be written"),
                format!(
                    "As the schema's owner: platform-audit migrate --service {service} --schema {schema} --app-role {}",
                    shell_quoted(app_role)
                ),
            ),
            Kind::MigrationAhead => (
                format!(
                    "the audit schema {object} has {detail}, which this version of platform-audit does not know"
                ),
                "Deploy the version of the service that was built with the newer platform-audit."
                    .to_owned(),
            ),
            Kind::PrivilegesMissing => (
                format!("the role {role} lacks the privileges to write records into {object}"),
                format!(
                    "{} -- if the service connects as {role}; otherwise pass its role: platform-audit check --app-role",
                    self.grant_app(role)
                ),
            ),
            Kind::PartitionMissing => (
                format!(
                    "the partition {object} for next month's records is missing, so they would be stored in the default partition"
                ),
                format!("SELECT {schema}.maintain(3);"),
            ),

            // Guarded tables.
            Kind::TableUnguarded => (
                format!(
                    "the table {object} is neither guarded nor exempt, so it can be changed without a record"
                ),
                format!(
                    "{} -- or, if it needs no records: SELECT {schema}.exempt({}, 'reason');",
                    self.guard(),
                    literal(object)
                ),
            ),
            Kind::GuardMissing => self.trigger("is missing, so some changes need no record"),
            Kind::GuardDisabled => self.trigger("is disabled, so changes need no record"),
            Kind::GuardNotAlways => {
                self.trigger("is not ENABLE ALWAYS, so session_replication_role disables it")
            }

            // The service's role.
            Kind::AppSuperuser if object == detail => {
                let own = quoted(&format!("{service}_app"));
                (
                    format!(
                        "the service's role {role} is a superuser, so the database cannot restrict it"
                    ),
                    format!(
                        "Let the service connect as a role of its own: CREATE ROLE {own} LOGIN; {} or, if no administrator needs {role}: ALTER ROLE {role} NOSUPERUSER;",
                        self.grant_app(&own)
                    ),
                )
            }
            Kind::AppSuperuser => (
                format!(
                    "the service's role {role} can become the superuser {detail} with SET ROLE"
                ),
                format!("REVOKE {} FROM {role};", quoted(detail)),
            ),
            Kind::RoleAssumed => (
                format!(
                    "the service connects as {object}, which is a superuser or can become the owner, and acts as {role} by SET ROLE: any statement can return to {object} with RESET ROLE"
                ),
                format!(
                    "ALTER ROLE {role} LOGIN; -- and let the service connect as {role}, or as a member of it without other privileges"
                ),
            ),
            Kind::AppCreatesRoles => (
                format!(
                    "the service's role {role} can grant itself the owner's role (CREATEROLE of {detail})"
                ),
                format!("ALTER ROLE {} NOCREATEROLE;", quoted(detail)),
            ),
            Kind::AppPrivileged => (
                format!(
                    "the service's role {role} has {detail}, which gives access beyond its own tables: to other sessions, all data or the server's files"
                ),
                match detail {
                    "REPLICATION" | "BYPASSRLS" => {
                        format!("ALTER ROLE {} NO{detail};", quoted(object))
                    }
                    _ => format!(
                        "REVOKE {} FROM {role}; -- or from the role through which it is a member",
                        quoted(detail)
                    ),
                },
            ),

            // Ownership.
            Kind::AppOwnsTable => {
                self.owned("table", "remove the guard or disable its triggers")
            }
            Kind::AppOwnsTablesSchema => self.owned(
                "schema",
                "drop its guarded tables and create others in their place",
            ),
            Kind::AppOwnsDatabase => self.owned("database", "drop it with all records"),
            Kind::AppOwnsSchema => (
                format!(
                    "the service's role {role} owns the schema {object} or the guard's tables or functions in it, so it can change what the guard does"
                ),
                format!(
                    "{detail} {} -- the_owner_role: a role that the service cannot become",
                    self.grant_app(role)
                ),
            ),

            // Privileges.
            Kind::TriggerGranted => self.granted(
                "TRIGGER",
                "can create triggers on",
                ", which run with the privileges of any role that changes it",
            ),
            Kind::TruncateGranted => self.granted("TRUNCATE", "can TRUNCATE", ""),
            Kind::ReplicationRoleGranted => (
                format!(
                    "the service's role {role} can set session_replication_role, which disables ordinary triggers and foreign keys"
                ),
                format!("REVOKE SET ON PARAMETER session_replication_role FROM {role};"),
            ),

            // Settings.
            Kind::SettingUnsafe => (
                match object {
                    "synchronous_commit" => "synchronous_commit is off for the service's sessions, so a crash of the server loses changes and records that were reported as committed".to_owned(),
                    _ => format!("{object} is not {detail} for the service's sessions, which disables triggers"),
                },
                format!(
                    "ALTER ROLE {role} SET {object} = {detail}; -- or RESET it where it is set: for the role in this database, or by the connection itself"
                ),
            ),
            Kind::ReadOnly => (
                format!(
                    "the database {object} is read-only: {}",
                    match detail {
                        "standby" => "this server is a standby",
                        _ => "a setting makes transactions read-only",
                    }
                ),
                "Connect to the primary; or, where default_transaction_read_only is on for this role or database, reset it.".to_owned(),
            ),

            // These are never raw findings on Postgres.
            Kind::ForeignKeysOff
            | Kind::ObligationOpen
            | Kind::PrivilegeUnexpected
            | Kind::SchemaDiffers
            | Kind::SealingBehind
            | Kind::LogContradicted => (object.to_owned(), detail.to_owned()),
        }
    }

    /// A problem of the trigger `detail` of the guarded table `object`.
    fn trigger(&self, problem: &str) -> (String, String) {
        let Self { object, detail, .. } = self;
        (
            format!("the guard's trigger {detail} on {object} {problem}"),
            self.guard(),
        )
    }

    /// The service's role owns `object`, as a member of `detail`.
    fn owned(&self, kind: &str, consequence: &str) -> (String, String) {
        let (role, object, member_of) = (self.role, self.object, self.detail);
        (
            format!(
                "the service's role {role} owns the {kind} {object} (as {member_of}), so it can {consequence}"
            ),
            format!(
                "ALTER {} {object} OWNER TO the_owner_role; -- a role that the service cannot become",
                kind.to_uppercase()
            ),
        )
    }

    /// The service's role has a privilege on the table `object`.
    fn granted(&self, privilege: &str, can: &str, consequence: &str) -> (String, String) {
        let Self { role, object, .. } = self;
        (
            format!("the service's role {role} {can} {object}{consequence}"),
            format!(
                "REVOKE {privilege} ON {object} FROM {role}; -- and from PUBLIC or a role that it is a member of, if it was granted to that"
            ),
        )
    }

    fn guard(&self) -> String {
        format!("SELECT {}.guard({});", self.schema, literal(self.object))
    }

    /// `role` is quoted where SQL requires it.
    fn grant_app(&self, role: &str) -> String {
        format!("SELECT {}.grant_app({});", self.schema, literal(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: FindingKind, object: &str, detail: &str) -> Finding {
        let raw = RawFinding::new(kind, object, detail);
        raw.with_postgres_remedy("ledger_audit", "ledger", "ledger-app")
    }

    #[test]
    fn a_superuser_and_a_member_of_one_have_different_remedies() {
        let superuser = finding(FindingKind::AppSuperuser, "ledger-app", "ledger-app");
        assert!(superuser.message.contains("\"ledger-app\" is a superuser"));
        assert!(
            superuser
                .remedy
                .ends_with("ALTER ROLE \"ledger-app\" NOSUPERUSER;")
        );
        let member = finding(FindingKind::AppSuperuser, "ledger-app", "root");
        assert!(
            member
                .message
                .ends_with("can become the superuser root with SET ROLE")
        );
        assert_eq!(member.remedy, "REVOKE root FROM \"ledger-app\";");
    }

    #[test]
    fn the_message_explains_the_effect_of_an_unsafe_setting() {
        let asynchronous = finding(FindingKind::SettingUnsafe, "synchronous_commit", "on");
        assert!(asynchronous.message.contains("a crash of the server loses"));
        let replica = finding(
            FindingKind::SettingUnsafe,
            "session_replication_role",
            "origin",
        );
        assert!(replica.message.contains("disables triggers"));
    }

    #[test]
    fn the_message_names_the_cause_of_a_read_only_database() {
        let standby = finding(FindingKind::ReadOnly, "ledger", "standby");
        assert_eq!(
            standby.message,
            "the database ledger is read-only: this server is a standby"
        );
        let setting = finding(FindingKind::ReadOnly, "ledger", "setting");
        assert!(
            setting
                .message
                .ends_with("a setting makes transactions read-only")
        );
    }

    #[test]
    fn the_migrate_command_is_quoted_for_a_shell() {
        let behind = finding(FindingKind::MigrationBehind, "ledger_audit", "migration 7");
        assert!(behind.remedy.ends_with("--app-role 'ledger-app'"));
    }
}
