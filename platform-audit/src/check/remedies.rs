//! The messages and remedies of findings on Postgres, one function for each kind.

use super::finding::{Finding, FindingKind, RawFinding};
use crate::sql::{literal, quoted, shell_quoted};

impl RawFinding {
    /// Adds the message and the remedy, for the audit schema `schema` of `service` and the
    /// service's `role`.
    pub(crate) fn with_postgres_remedy(self, schema: &str, service: &str, role: &str) -> Finding {
        let Self {
            kind,
            object,
            detail,
        } = self;
        let problem = Problem {
            schema,
            service,
            app_role: role,
            role: &quoted(role),
            object: &object,
            detail: &detail,
        };
        let Explained { message, remedy } = problem.explain(kind);
        Finding {
            kind,
            object,
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

struct Explained {
    message: String,
    remedy: String,
}

fn explained(message: String, remedy: impl Into<String>) -> Explained {
    Explained {
        message,
        remedy: remedy.into(),
    }
}

impl Problem<'_> {
    fn explain(&self, kind: FindingKind) -> Explained {
        use FindingKind as Kind;
        match kind {
            Kind::MigrationBehind => self.migration_behind(),
            Kind::MigrationAhead => self.migration_ahead(),
            Kind::RightsMissing => self.rights_missing(),
            Kind::TableUnguarded => self.table_unguarded(),
            Kind::GuardMissing => self.guard_missing(),
            Kind::GuardDisabled => self.guard_disabled(),
            Kind::GuardNotAlways => self.guard_not_always(),
            Kind::AppSuperuser if self.object == self.detail => self.app_superuser(),
            Kind::AppSuperuser => self.app_member_of_superuser(),
            Kind::RoleAssumed => self.role_assumed(),
            Kind::AppOwnsTable => self.app_owns_table(),
            Kind::AppOwnsSchema => self.app_owns_schema(),
            Kind::AppOwnsTablesSchema => self.app_owns_tables_schema(),
            Kind::AppOwnsDatabase => self.app_owns_database(),
            Kind::AppCreatesRoles => self.app_creates_roles(),
            Kind::AppPrivileged => self.app_privileged(),
            Kind::TriggerGranted => self.trigger_granted(),
            Kind::TruncateGranted => self.truncate_granted(),
            Kind::ReplicationRoleGranted => self.replication_role_granted(),
            Kind::SettingUnsafe => self.setting_unsafe(),
            Kind::ReadOnly => self.read_only(),
            Kind::PartitionMissing => self.partition_missing(),
            // These are never raw findings on Postgres.
            Kind::ForeignKeysOff
            | Kind::ObligationOpen
            | Kind::PrivilegeUnexpected
            | Kind::SchemaDiffers
            | Kind::SealingBehind
            | Kind::LogContradicted => explained(self.object.to_owned(), self.detail),
        }
    }

    // The audit schema.

    fn migration_behind(&self) -> Explained {
        let Self {
            schema,
            service,
            object,
            detail,
            ..
        } = self;
        let role = shell_quoted(self.app_role);
        explained(
            format!("the audit schema {object} lacks {detail}, so no records can be written"),
            format!(
                "As the schema's owner: platform-audit migrate --service {service} --schema {schema} --app-role {role}"
            ),
        )
    }

    fn migration_ahead(&self) -> Explained {
        let Self { object, detail, .. } = self;
        explained(
            format!(
                "the audit schema {object} has {detail}, which this version of platform-audit does not know"
            ),
            "Deploy the version of the service that was built with the newer platform-audit.",
        )
    }

    fn rights_missing(&self) -> Explained {
        let Self { role, object, .. } = self;
        let grant = self.grant_app(role);
        explained(
            format!("the role {role} lacks the privileges to write records into {object}"),
            format!(
                "{grant} -- if the service connects as {role}; otherwise pass its role: platform-audit check --app-role"
            ),
        )
    }

    fn partition_missing(&self) -> Explained {
        let Self { schema, object, .. } = self;
        explained(
            format!(
                "the partition {object} for next month's records is missing, so they would be stored in the default partition"
            ),
            format!("SELECT {schema}.maintain(3);"),
        )
    }

    // Guarded tables.

    fn table_unguarded(&self) -> Explained {
        let Self { schema, object, .. } = self;
        let (guard, table) = (self.guard(), literal(object));
        explained(
            format!(
                "the table {object} is neither guarded nor exempt, so it can be changed without a record"
            ),
            format!(
                "{guard} -- or, if it needs no records: SELECT {schema}.exempt({table}, 'reason');"
            ),
        )
    }

    fn guard_missing(&self) -> Explained {
        let Self { object, detail, .. } = self;
        explained(
            format!(
                "the guard of {object} lacks its trigger {detail}, so some changes need no record"
            ),
            self.guard(),
        )
    }

    fn guard_disabled(&self) -> Explained {
        let Self { object, detail, .. } = self;
        explained(
            format!(
                "the guard's trigger {detail} on {object} is disabled, so changes need no record"
            ),
            self.guard(),
        )
    }

    fn guard_not_always(&self) -> Explained {
        let Self { object, detail, .. } = self;
        explained(
            format!(
                "the guard's trigger {detail} on {object} is not ENABLE ALWAYS, so session_replication_role disables it"
            ),
            self.guard(),
        )
    }

    // The service's role.

    fn app_superuser(&self) -> Explained {
        let Self { service, role, .. } = self;
        let own = quoted(&format!("{service}_app"));
        let grant = self.grant_app(&own);
        explained(
            format!("the service's role {role} is a superuser, so the database cannot restrict it"),
            format!(
                "Let the service connect as a role of its own: CREATE ROLE {own} LOGIN; {grant} or, if no administrator needs {role}: ALTER ROLE {role} NOSUPERUSER;"
            ),
        )
    }

    fn app_member_of_superuser(&self) -> Explained {
        let Self { role, detail, .. } = self;
        explained(
            format!("the service's role {role} can become the superuser {detail} with SET ROLE"),
            format!("REVOKE {} FROM {role};", quoted(detail)),
        )
    }

    fn role_assumed(&self) -> Explained {
        let Self { role, object, .. } = self;
        explained(
            format!(
                "the service connects as {object}, which is a superuser or can become the owner, and acts as {role} by SET ROLE: any statement can return to {object} with RESET ROLE"
            ),
            format!(
                "ALTER ROLE {role} LOGIN; -- and let the service connect as {role}, or as a member of it without other privileges"
            ),
        )
    }

    fn app_creates_roles(&self) -> Explained {
        let Self { role, detail, .. } = self;
        explained(
            format!(
                "the service's role {role} can grant itself the owner's role (CREATEROLE of {detail})"
            ),
            format!("ALTER ROLE {} NOCREATEROLE;", quoted(detail)),
        )
    }

    fn app_privileged(&self) -> Explained {
        let Self {
            role,
            object,
            detail,
            ..
        } = self;
        let is_attribute = matches!(*detail, "REPLICATION" | "BYPASSRLS");
        let remedy = if is_attribute {
            format!("ALTER ROLE {} NO{detail};", quoted(object))
        } else {
            format!(
                "REVOKE {} FROM {role}; -- or from the role through which it is a member",
                quoted(detail)
            )
        };
        explained(
            format!(
                "the service's role {role} has {detail}, which gives access beyond its own tables: to other sessions, all data or the server's files"
            ),
            remedy,
        )
    }

    // Ownership.

    fn app_owns_table(&self) -> Explained {
        let Self {
            role,
            object,
            detail,
            ..
        } = self;
        explained(
            format!(
                "the service's role {role} owns {object} (as {detail}), so it can remove the guard or disable its triggers"
            ),
            format!("ALTER TABLE {object} OWNER TO the_owner_role; {OWNER_ROLE}"),
        )
    }

    fn app_owns_schema(&self) -> Explained {
        let Self {
            role,
            object,
            detail,
            ..
        } = self;
        let grant = self.grant_app(role);
        explained(
            format!(
                "the service's role {role} owns the schema {object} or the guard's tables or functions in it, so it can change what the guard does"
            ),
            format!("{detail} {grant} -- the_owner_role: a role that the service cannot become"),
        )
    }

    fn app_owns_tables_schema(&self) -> Explained {
        let Self {
            role,
            object,
            detail,
            ..
        } = self;
        explained(
            format!(
                "the service's role {role} owns the schema {object} (as {detail}), so it can drop its guarded tables and create others in their place"
            ),
            format!("ALTER SCHEMA {object} OWNER TO the_owner_role; {OWNER_ROLE}"),
        )
    }

    fn app_owns_database(&self) -> Explained {
        let Self {
            role,
            object,
            detail,
            ..
        } = self;
        explained(
            format!(
                "the service's role {role} owns the database {object} (as {detail}), so it can drop it with all records"
            ),
            format!("ALTER DATABASE {object} OWNER TO the_owner_role; {OWNER_ROLE}"),
        )
    }

    // Privileges.

    fn trigger_granted(&self) -> Explained {
        let Self { role, object, .. } = self;
        explained(
            format!(
                "the service's role {role} can create triggers on {object}, which run with the privileges of any role that changes it"
            ),
            format!("REVOKE TRIGGER ON {object} FROM {role}; {OTHER_GRANTEES}"),
        )
    }

    fn truncate_granted(&self) -> Explained {
        let Self { role, object, .. } = self;
        explained(
            format!("the service's role {role} can TRUNCATE {object}"),
            format!("REVOKE TRUNCATE ON {object} FROM {role}; {OTHER_GRANTEES}"),
        )
    }

    fn replication_role_granted(&self) -> Explained {
        let Self { role, .. } = self;
        explained(
            format!(
                "the service's role {role} can set session_replication_role, which disables ordinary triggers and foreign keys"
            ),
            format!("REVOKE SET ON PARAMETER session_replication_role FROM {role};"),
        )
    }

    // Settings.

    fn setting_unsafe(&self) -> Explained {
        let Self {
            role,
            object,
            detail,
            ..
        } = self;
        let message = match *object {
            "synchronous_commit" => "synchronous_commit is off for the service's sessions, so a crash of the server loses changes and records that were reported as committed".to_owned(),
            _ => format!("{object} is not {detail} for the service's sessions, which disables triggers"),
        };
        explained(
            message,
            format!(
                "ALTER ROLE {role} SET {object} = {detail}; -- or RESET it where it is set: for the role in this database, or by the connection itself"
            ),
        )
    }

    fn read_only(&self) -> Explained {
        let Self { object, detail, .. } = self;
        let cause = match *detail {
            "standby" => "this server is a standby",
            _ => "a setting makes transactions read-only",
        };
        explained(
            format!("the database {object} is read-only: {cause}"),
            "Connect to the primary; or, where default_transaction_read_only is on for this role or database, reset it.",
        )
    }

    // SQL that several remedies contain.

    fn guard(&self) -> String {
        format!("SELECT {}.guard({});", self.schema, literal(self.object))
    }

    /// `role` is quoted where SQL requires it.
    fn grant_app(&self, role: &str) -> String {
        format!("SELECT {}.grant_app({});", self.schema, literal(role))
    }
}

const OWNER_ROLE: &str = "-- a role that the service cannot become";
const OTHER_GRANTEES: &str =
    "-- and from PUBLIC or a role that it is a member of, if it was granted to that";

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
