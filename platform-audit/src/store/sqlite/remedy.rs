//! The message of each finding, and the SQL that repairs it.

use uuid::Uuid;

use super::expected::Object;
use crate::check::{Finding, FindingKind, RawFinding};
use crate::sql::{identifier, literal};

pub(super) struct Remedies<'a> {
    pub(super) schema: &'a str,
    pub(super) service: &'a str,
    pub(super) expected: &'a [Object],
}

impl Remedies<'_> {
    pub(super) fn of_missing(&self, wanted: &Object) -> Finding {
        let remedy = if wanted.kind == "table" {
            format!("{};\n{}", wanted.sql, self.indexes_and_triggers(wanted))
        } else {
            wanted.create_anew()
        };
        let Object { kind, name, .. } = wanted;
        let harm = match kind.as_str() {
            "table" => "its rows are lost",
            "index" => "queries that use it read all records",
            _ => "changes that it refuses are possible",
        };
        self.finding(
            FindingKind::SchemaDiffers,
            &wanted.table,
            format!("the {kind} {name} is missing, so {harm}"),
            remedy,
        )
    }

    pub(super) fn of_changed(&self, wanted: &Object, found: &Object) -> Finding {
        let Object { kind, name, .. } = wanted;
        let remedy = match (kind.as_str(), found.kind.as_str()) {
            ("table", "table") => self.rebuild(wanted),
            ("table", _) => format!(
                "{} {};\n{}",
                found.drop_if_exists(),
                wanted.sql,
                self.indexes_and_triggers(wanted)
            ),
            _ => format!("{} {}", found.drop_if_exists(), wanted.create_anew()),
        };
        self.finding(
            FindingKind::SchemaDiffers,
            &wanted.table,
            format!("the {kind} {name} differs from its definition in the migrations, so it may allow changes that it should refuse"),
            remedy,
        )
    }

    pub(super) fn of_unexpected(&self, found: &Object, database: &str) -> Finding {
        let Object {
            kind, name, table, ..
        } = found;
        let place = match database {
            "temp" => "this connection",
            _ => "the database",
        };
        self.finding(
            FindingKind::SchemaDiffers,
            table,
            format!("{place} has a {kind} {name}, which no migration created, so rows written to {table} may be changed, dropped or copied"),
            format!("DROP {} {database}.{};", kind.to_uppercase(), identifier(name)),
        )
    }

    pub(super) fn of_guard(&self, kind: FindingKind, table: &str, missing: &[&Object]) -> Finding {
        let create: String = missing
            .iter()
            .map(|trigger| trigger.create_anew())
            .collect();
        let message = match kind {
            FindingKind::TableUnguarded => format!(
                "the table {table} is neither guarded nor exempt, so it can be changed without a record"
            ),
            _ => {
                let names: Vec<_> = missing.iter().map(|trigger| &*trigger.name).collect();
                format!(
                    "the guard of {table} lacks its trigger {}, or it was changed, so some changes need no record",
                    names.join(", ")
                )
            }
        };
        let create = format!("{create}-- or Audit::builder(…).guard([{table:?}]) before start");
        let remedy = match kind {
            FindingKind::TableUnguarded => {
                format!("{create}; or, if it needs no records: .exempt({table:?}, \"why\")")
            }
            _ => create,
        };
        self.finding(kind, table, message, remedy)
    }

    /// Findings about rows and settings.
    pub(super) fn of_state(&self, found: RawFinding) -> Finding {
        let RawFinding {
            kind: finding,
            object,
            detail,
        } = found;
        let schema = self.schema;
        let (message, remedy) = match (finding, detail.as_str()) {
            (FindingKind::ObligationOpen, _) => (
                format!("a transaction changed {object} at {detail} and was committed without a record; audited changes are refused until this change is recorded"),
                self.late_record(&object, &detail),
            ),
            (FindingKind::SchemaDiffers, "lost") => (
                format!("the record of the last change of a guarded table is missing from {schema}_record"),
                "Find out who deleted it, and restore the records from a backup of the file.".to_owned(),
            ),
            (FindingKind::SchemaDiffers, "rows") => (
                format!("{object} lost its row, so guarded tables can be changed without a record"),
                self.with_trigger_dropped(&format!("{schema}_obligation_no_replace"), &format!("INSERT INTO {schema}_obligation VALUES (1, '', '', NULL);")),
            ),
            (FindingKind::SchemaDiffers, _) => (
                format!("{object} has a record without an id, which would resolve the obligation of every change"),
                self.with_trigger_dropped(&format!("{schema}_record_no_delete"), &format!("DELETE FROM {schema}_record WHERE id = '';")),
            ),
            (FindingKind::ForeignKeysOff, _) => (
                "this connection does not enforce foreign keys, so guarded tables cannot be changed through it".to_owned(),
                "PRAGMA foreign_keys = ON; -- for each connection".to_owned(),
            ),
            (FindingKind::SettingUnsafe, setting) => of_setting(setting),
            (FindingKind::MigrationAhead, _) => (
                format!("the audit tables {object} have {detail}, which this version of platform-audit does not know"),
                "Run the version of the service that was built with the newer platform-audit.".to_owned(),
            ),
            _ => (
                format!("the audit tables {object} lack {detail}"),
                "Start the service with write access to the file: it migrates by itself.".to_owned(),
            ),
        };
        self.finding(finding, &object, message, remedy)
    }

    /// Returns SQL that records a change committed without a record. An operator has to find out
    /// who made the change, and fill it in.
    fn late_record(&self, table: &str, changed_at: &str) -> String {
        let Self {
            schema, service, ..
        } = self;
        let id = Uuid::now_v7();
        format!(
            "INSERT INTO {schema}_record (id, xid, occurred_at, service, actor_kind, actor_id, action, resource_type, outcome, reason)\n\
             VALUES ('{id}', '{id}', {}, {}, 'system', 'unknown', 'table.repair', {}, 'success', 'changed without a record'); -- replace the actor and the reason with what you find out",
            literal(changed_at),
            literal(service),
            literal(table),
        )
    }

    /// Returns SQL that runs `statement` while `trigger` is dropped.
    fn with_trigger_dropped(&self, trigger: &str, statement: &str) -> String {
        let trigger_object = self.expected.iter().find(|object| object.name == trigger);
        let recreate = trigger_object.map_or(String::new(), |object| format!("{};", object.sql));
        format!(
            "BEGIN IMMEDIATE;\nDROP TRIGGER IF EXISTS {trigger};\n{statement}\n{recreate}\nCOMMIT;"
        )
    }

    /// Returns the statements that create the indexes and triggers of a table.
    fn indexes_and_triggers(&self, table: &Object) -> String {
        let is_dependent = |object: &&Object| object.kind != "table" && object.table == table.name;
        self.expected
            .iter()
            .filter(is_dependent)
            .map(Object::create_anew)
            .collect()
    }

    /// Returns SQL that creates the table again and copies its rows, because SQLite cannot change a
    /// table's constraints. With `legacy_alter_table`, references to the table keep its name when
    /// it is renamed.
    fn rebuild(&self, table: &Object) -> String {
        let name = &table.name;
        format!(
            "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; BEGIN IMMEDIATE;\n\
             ALTER TABLE {name} RENAME TO {name}_found;\n{};\n\
             INSERT INTO {name} SELECT * FROM {name}_found; -- if the columns differ, name them\n\
             DROP TABLE {name}_found;\n{}\
             COMMIT; PRAGMA legacy_alter_table = OFF; PRAGMA foreign_keys = ON;",
            table.sql,
            self.indexes_and_triggers(table)
        )
    }

    fn finding(&self, kind: FindingKind, object: &str, message: String, remedy: String) -> Finding {
        Finding {
            kind,
            object: object.to_owned(),
            message,
            remedy: remedy.trim_end().to_owned(),
            remedy_is_multiline: false,
        }
    }
}

fn of_setting(setting: &str) -> (String, String) {
    let (state, harm) = match setting {
        "ignore_check_constraints" => (
            "on",
            "records need not be well-formed, and may be of any size",
        ),
        "writable_schema" => ("on", "any statement may rewrite the guards"),
        "trusted_schema" => ("off", "guarded tables cannot be changed through it"),
        _ => ("off", "changes that are rolled back may stay in the file"),
    };
    let remedy = match (setting, state) {
        ("journal_mode", _) => "PRAGMA journal_mode = WAL;".to_owned(),
        (_, "on") => format!("PRAGMA {setting} = OFF; -- for each connection"),
        _ => format!("PRAGMA {setting} = ON; -- for each connection"),
    };
    (
        format!("this connection has {setting} {state}, so {harm}"),
        remedy,
    )
}
