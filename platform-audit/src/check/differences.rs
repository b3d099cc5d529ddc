//! The audit schema as it is, compared with what the migrations make.
//!
//! Both are rows of `store/postgres/catalog.sql`. What is expected was read from a schema that the
//! migrations had just made (`store/postgres/expected.json`, which a test makes again and compares),
//! so a new migration needs no new check, and a harm that nobody thought of is a difference too.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::finding::quoted;
use super::{Finding, FindingKind};
use crate::sql::literal;

/// The catalog's rows of one audit schema.
#[derive(Debug, Deserialize)]
pub(crate) struct Catalog {
    /// The schema's owner, quoted where SQL needs it.
    owner: String,
    /// The server's major version.
    server: u32,
    rows: Vec<Property>,
}

impl Catalog {
    /// Whether DDL on a guarded table needs a record, too.
    pub(crate) fn guards_definitions(&self) -> bool {
        self.rows.iter().any(|row| row.kind == "event_trigger")
    }
}

/// One property of one object; see `catalog.sql`.
#[derive(Clone, Debug, Deserialize)]
struct Property {
    kind: String,
    object: String,
    #[serde(default)]
    part_of: Vec<String>,
    definition: String,
    #[serde(default)]
    fix: String,
    #[serde(default)]
    undo: String,
}

/// What the migrations make. `{schema}`, `{owner}`, `{app}` and `{reader}` stand for names, and
/// `{partition}` with `{from}` and `{to}` for each month's partition.
const EXPECTED: &str = include_str!("../store/postgres/expected.json");

/// The newest server whose deparsed definitions are known to read as in [`EXPECTED`].
const NEWEST_SERVER: u32 = 18;

/// Definitions that the server deparses; a newer one may word them in another way.
const DEPARSED: [&str; 8] = [
    "relation",
    "parent",
    "default",
    "index",
    "constraint",
    "trigger",
    "domain_constraint",
    "event_trigger",
];

/// Each difference of `actual` from what the migrations make, with its remedy. `app` is the
/// service's role.
pub(crate) fn differences(
    actual: &Catalog,
    schema: &str,
    app: &str,
) -> Result<Vec<Finding>, serde_json::Error> {
    let mut expected = Expected::of(actual, schema)?;
    if !actual.guards_definitions() {
        expected.take_event_triggers(actual);
    }
    let mut findings = expected.objects(actual);
    findings.extend(expected.privileges(actual, schema, app));
    Ok(findings)
}

struct Expected {
    /// Without privileges, by kind and object.
    properties: BTreeMap<String, Property>,
    /// As `EXECUTE ON FUNCTION …`, of the service's role, a reader's and everybody's.
    app: BTreeSet<String>,
    reader: BTreeSet<String>,
    public: BTreeSet<String>,
    /// The tables that may be named where a function names the month's partition.
    partitions: BTreeSet<String>,
}

impl Expected {
    fn of(actual: &Catalog, schema: &str) -> Result<Self, serde_json::Error> {
        let mut partitions = BTreeSet::from([DEFAULT_PARTITION.to_owned()]);
        for row in &actual.rows {
            let name = row.object.strip_prefix(schema);
            let name = name.and_then(|name| name.strip_prefix('.'));
            if let Some(month) = name.and_then(Month::of_partition) {
                partitions.insert(month.partition());
            }
        }
        let mut expected = Self {
            properties: BTreeMap::new(),
            app: BTreeSet::new(),
            reader: BTreeSet::new(),
            public: BTreeSet::new(),
            partitions,
        };
        let rows: Vec<Property> = serde_json::from_str(EXPECTED)?;
        for row in rows {
            let row = row.map(|text| {
                text.replace("{schema}", schema)
                    .replace("{owner}", &actual.owner)
            });
            if row.kind == "privilege" {
                let privilege = privilege_of(&row);
                match row.definition.as_str() {
                    "{app}" => expected.app.insert(privilege),
                    "{reader}" => expected.reader.insert(privilege),
                    _ => expected.public.insert(privilege),
                };
            } else if row.object.contains("{partition}") {
                for month in expected.partitions.clone() {
                    if let Some(month) = Month::of_partition(&month) {
                        expected.insert(row.map(|text| month.fill(text)));
                    }
                }
            } else {
                expected.insert(row);
            }
        }
        Ok(expected)
    }

    fn insert(&mut self, row: Property) {
        self.properties.insert(row.key(), row);
    }

    /// It takes a superuser to make them, so a schema may do without; not without one of them.
    fn take_event_triggers(&mut self, actual: &Catalog) {
        let is_there = |key: &String| actual.rows.iter().any(|row| row.key() == *key);
        let runs_for_them = |row: &Property| {
            row.kind == "routine" && row.definition.contains("RETURNS event_trigger")
        };
        let mut taken: BTreeSet<String> = self
            .properties
            .iter()
            .filter(|(key, row)| {
                row.kind.starts_with("event_trigger") || runs_for_them(row) && !is_there(key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        // And what belongs to their function.
        let parts = self.properties.iter();
        let parts = parts.filter(|(_, row)| row.part_of.iter().any(|whole| taken.contains(whole)));
        let parts: Vec<_> = parts.map(|(key, _)| key.clone()).collect();
        taken.extend(parts);
        self.properties.retain(|key, _| !taken.contains(key));
    }

    fn objects(&self, actual: &Catalog) -> Vec<Finding> {
        let rows = actual.rows.iter().filter(|row| row.kind != "privilege");
        let found: HashMap<String, &Property> = rows.map(|row| (row.key(), row)).collect();
        let differs = |key: &String, row: &Property| match found.get(key) {
            None => true,
            Some(it) => !self.is_defined_as(row, &it.definition, actual.server),
        };
        let wrong: BTreeSet<&String> = self
            .properties
            .iter()
            .filter(|(key, row)| differs(key, row))
            .map(|(key, _)| key)
            .collect();
        let mut findings = Vec::new();
        for key in &wrong {
            let row = &self.properties[*key];
            if !row.part_of.iter().any(|whole| wrong.contains(whole)) {
                findings.push(row.differs_from(found.get(*key).copied()));
            }
        }
        let unexpected = |row: &Property| !self.properties.contains_key(&row.key());
        let mut more: Vec<_> = found
            .values()
            .filter(|row| unexpected(row))
            // Reported with what it is a part of.
            .filter(|row| {
                let mut wholes = row.part_of.iter();
                wholes.all(|whole| self.properties.contains_key(whole) && !wrong.contains(whole))
            })
            .collect();
        more.sort_by_key(|row| row.key());
        findings.extend(more.into_iter().map(|row| row.is_unexpected()));
        findings
    }

    fn is_defined_as(&self, expected: &Property, definition: &str, server: u32) -> bool {
        if server > NEWEST_SERVER && DEPARSED.contains(&expected.kind.as_str()) {
            return true;
        }
        if !expected.definition.contains("{partition}") {
            return expected.definition == definition;
        }
        let mut partitions = self.partitions.iter();
        partitions.any(|it| expected.definition.replace("{partition}", it) == definition)
    }

    /// What a role holds that neither a service nor a reader needs.
    fn privileges(&self, actual: &Catalog, schema: &str, app: &str) -> Vec<Finding> {
        let mut held: BTreeMap<&str, BTreeMap<String, &Property>> = BTreeMap::new();
        let privileges = actual.rows.iter().filter(|row| row.kind == "privilege");
        // Those on an object that does not belong there go with it.
        let known = |row: &&Property| {
            let mut wholes = row.part_of.iter();
            // The columns of a view are not listed.
            wholes.all(|it| self.properties.contains_key(it) || it.starts_with("column "))
        };
        for row in privileges.filter(known) {
            let role = held.entry(&row.definition).or_default();
            role.insert(privilege_of(row), row);
        }
        let app = quoted(app);
        let mut findings = Vec::new();
        // Without any of its own, it has them through another role, and `check.sql` asks for those.
        if let Some(held) = held.get(app.as_str()) {
            let lacks = |needed: &&String| !held.contains_key(*needed);
            let missing: Vec<_> = self.app.iter().filter(lacks).map(String::as_str).collect();
            if !missing.is_empty() {
                findings.push(Finding {
                    kind: FindingKind::RightsMissing,
                    object: schema.to_owned(),
                    message: format!("the role {app} lacks {}", missing.join(", ")),
                    remedy: format!("SELECT {schema}.grant_app({});", literal(&app)),
                    remedy_has_lines: false,
                });
            }
        }
        for (role, held) in held {
            let is_a_service =
                role == app || self.app.iter().all(|needed| held.contains_key(needed));
            let allowed = match role {
                "PUBLIC" => &self.public,
                _ if is_a_service => &self.app,
                _ => &self.reader,
            };
            let mut excess: BTreeMap<&str, Vec<(&str, &Property)>> = BTreeMap::new();
            for (privilege, row) in &held {
                if !allowed.contains(privilege) {
                    let (what, object) = privilege.split_once(" ON ").unwrap_or((privilege, ""));
                    excess.entry(object).or_default().push((what, row));
                }
            }
            for (object, excess) in excess {
                let what: Vec<_> = excess.iter().map(|(what, _)| *what).collect();
                let undo: Vec<_> = excess.iter().map(|(_, row)| row.undo.as_str()).collect();
                findings.push(Finding {
                    kind: FindingKind::PrivilegeUnexpected,
                    object: object.split_once(' ').unwrap_or(("", object)).1.to_owned(),
                    message: format!(
                        "{role} has {} on the {}, which neither a service nor a reader of records needs",
                        what.join(", "),
                        in_words(object)
                    ),
                    remedy: undo.join(" "),
                    remedy_has_lines: false,
                });
            }
        }
        findings
    }
}

/// The partition of the records that have no month's.
const DEFAULT_PARTITION: &str = "record_default";

/// A month whose records have a partition of their own.
#[derive(Clone, Copy)]
struct Month {
    year: u16,
    month: u8,
}

impl Month {
    fn of_partition(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("record_")?.split_once('_')?;
        let digits = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let it = Self {
            year: year.parse().ok().filter(|_| digits(year, 4))?,
            month: month.parse().ok().filter(|_| digits(month, 2))?,
        };
        (1..=12).contains(&it.month).then_some(it)
    }

    fn partition(self) -> String {
        format!("record_{:04}_{:02}", self.year, self.month)
    }

    fn start(self) -> String {
        format!("{:04}-{:02}-01 00:00:00+00", self.year, self.month)
    }

    fn next(self) -> Self {
        match self.month {
            12 => Self {
                year: self.year + 1,
                month: 1,
            },
            month => Self {
                year: self.year,
                month: month + 1,
            },
        }
    }

    fn fill(self, text: &str) -> String {
        text.replace("{partition}", &self.partition())
            .replace("{from}", &self.start())
            .replace("{to}", &self.next().start())
    }
}

/// `TABLE name` as `table name`.
fn in_words(object: &str) -> String {
    let (word, name) = object.split_once(' ').unwrap_or(("", object));
    format!("{} {name}", word.to_lowercase())
}

/// The privilege without the role that holds it.
fn privilege_of(row: &Property) -> String {
    row.object
        .replacen(&format!(" TO {}", row.definition), "", 1)
}

impl Property {
    fn key(&self) -> String {
        format!("{} {}", self.kind, self.object)
    }

    fn map(&self, fill: impl Fn(&str) -> String) -> Self {
        Self {
            kind: self.kind.clone(),
            object: fill(&self.object),
            part_of: self.part_of.iter().map(|it| fill(it)).collect(),
            definition: fill(&self.definition),
            fix: fill(&self.fix),
            undo: String::new(),
        }
    }

    /// In words.
    fn described(&self) -> Cow<'_, str> {
        let object = &self.object;
        match self.kind.as_str() {
            "persistence" => format!("whether {object} survives a crash"),
            "row_security" => format!("row-level security of {object}"),
            "option" => format!("the storage option {object}"),
            "replica_identity" => format!("the replica identity of {object}"),
            "parent" => format!("the parent of {object}"),
            "storage" => format!("the storage of {object}"),
            "not_null" => format!("NOT NULL of {object}"),
            "default" => format!("the default of {object}"),
            "trigger_enabled" => format!("the firing mode of the trigger {object}"),
            "event_trigger" => format!("the event trigger {object}"),
            "event_trigger_enabled" => format!("the firing mode of the event trigger {object}"),
            "routine" => format!("the function {object}"),
            "domain_constraint" => format!("the constraint {object}"),
            "owner" => format!("the owner of the {object}"),
            "relation" | "object" => return Cow::Borrowed(object),
            kind => format!("the {kind} {object}"),
        }
        .into()
    }

    /// `self` is expected; `found` is there in its place.
    fn differs_from(&self, found: Option<&Self>) -> Finding {
        const SHORT: usize = 60;
        let what = self.described();
        let is_short = |text: &str| text.len() <= SHORT && !text.contains('\n');
        let message = match found {
            None => format!("{what} is missing from the audit schema"),
            Some(found) if is_short(&found.definition) && is_short(&self.definition) => format!(
                "{what} is {} and should be {}, as the migrations made it",
                found.definition, self.definition
            ),
            Some(_) => format!("{what} is not as the migrations made it"),
        };
        let mut remedy = match found {
            // Which role, only the database knows.
            Some(found) if self.fix.is_empty() => found.undo.clone(),
            _ => self.fix.replace("{definition}", &self.definition),
        };
        if remedy.contains("{partition}") {
            remedy = remedy.replace("{partition}", DEFAULT_PARTITION);
            remedy.push_str(" -- then, so that it asks this month's partition first: maintain(3)");
        }
        Finding {
            kind: FindingKind::SchemaDiffers,
            object: self.object.clone(),
            message,
            remedy,
            remedy_has_lines: true,
        }
    }

    fn is_unexpected(&self) -> Finding {
        Finding {
            kind: FindingKind::SchemaDiffers,
            object: self.object.clone(),
            message: format!(
                "{} is in the audit schema, and no migration made it",
                self.described()
            ),
            remedy: self.undo.clone(),
            remedy_has_lines: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(kind: &str, definition: &str) -> Property {
        Property {
            kind: kind.to_owned(),
            object: "ledger_audit.record".to_owned(),
            part_of: Vec::new(),
            definition: definition.to_owned(),
            fix: String::new(),
            undo: String::new(),
        }
    }

    /// Otherwise a service would not start on a server that came out after it.
    #[test]
    fn a_server_that_is_newer_than_the_toolkit_may_word_what_it_deparses_otherwise() {
        let actual = Catalog {
            owner: "owner".to_owned(),
            server: NEWEST_SERVER,
            rows: Vec::new(),
        };
        let expected = Expected::of(&actual, "ledger_audit").unwrap();
        let is_defined_as = |kind, found: &str, server| {
            expected.is_defined_as(&property(kind, "as the migrations made it"), found, server)
        };
        for kind in ["constraint", "owner"] {
            for server in [15, NEWEST_SERVER, NEWEST_SERVER + 1] {
                assert!(is_defined_as(kind, "as the migrations made it", server));
            }
            for server in [15, NEWEST_SERVER] {
                assert!(
                    !is_defined_as(kind, "otherwise", server),
                    "{kind} on {server}"
                );
            }
        }
        assert!(is_defined_as("constraint", "otherwise", NEWEST_SERVER + 1));
        assert!(!is_defined_as("owner", "otherwise", NEWEST_SERVER + 1));
    }

    #[test]
    fn only_the_partition_of_a_month_is_taken_for_one() {
        let filled = |name| Month::of_partition(name).map(|it| it.fill("{partition} {from} {to}"));
        assert_eq!(
            filled("record_2026_12").as_deref(),
            Some("record_2026_12 2026-12-01 00:00:00+00 2027-01-01 00:00:00+00")
        );
        assert_eq!(
            filled("record_2026_01").as_deref(),
            Some("record_2026_01 2026-01-01 00:00:00+00 2026-02-01 00:00:00+00")
        );
        for other in [
            "record_2026_00",
            "record_2026_13",
            "record_2026_1",
            "record_026_01",
            "record_+026_01",
            "record_2026_+1",
            "record_2026_012",
            "record_default",
            "2026_01",
        ] {
            assert_eq!(filled(other), None, "{other}");
        }
    }

    #[test]
    fn a_short_definition_is_quoted_beside_what_it_should_be() {
        let wanted = |definition: &str| Property {
            fix: "make it {definition};".to_owned(),
            ..property("storage", definition)
        };
        let found = |definition: &str| Property {
            undo: "take it back;".to_owned(),
            ..property("storage", definition)
        };
        let (short, long) = ("x".repeat(60), "x".repeat(61));
        let quoted = wanted("plain").differs_from(Some(&found(&short)));
        let expected = format!(
            "the storage of ledger_audit.record is {short} and should be plain, as the migrations made it"
        );
        assert_eq!(quoted.message, expected);
        assert_eq!(quoted.remedy, "make it plain;");
        for (wanted_as, found_as) in [("plain", &*long), (&*long, "plain"), ("plain", "a\nb")] {
            let finding = wanted(wanted_as).differs_from(Some(&found(found_as)));
            let message = "the storage of ledger_audit.record is not as the migrations made it";
            assert_eq!(finding.message, message);
        }
        let without_fix = property("storage", "plain");
        let undone = without_fix.differs_from(Some(&found("main")));
        assert_eq!(undone.remedy, "take it back;");
    }

    #[test]
    fn an_object_is_named_in_words() {
        assert_eq!(
            in_words("TABLE ledger_audit.record"),
            "table ledger_audit.record"
        );
    }
}
