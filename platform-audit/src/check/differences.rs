//! Compares the audit schema with the result of the migrations.
//!
//! Both are rows of `store/postgres/catalog.sql`. The expected rows were read from a newly migrated
//! schema (`store/postgres/expected.json`; a test regenerates and compares it). So a new migration
//! needs no new check, and the comparison also finds manipulations that nobody anticipated.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::partition::{DEFAULT_PARTITION, Month};
use super::privileges::{ExpectedPrivileges, privilege_findings};
use super::{Finding, FindingKind};

/// The rows of `catalog.sql` for one audit schema.
#[derive(Debug, Deserialize)]
pub(crate) struct SchemaCatalog {
    /// The schema's owner, quoted where SQL requires it.
    owner: String,
    /// The server's major version.
    server: u32,
    pub(super) rows: Vec<Property>,
}

impl SchemaCatalog {
    /// Whether event triggers require a record for DDL on a guarded table, too.
    pub(crate) fn guards_definitions(&self) -> bool {
        self.rows.iter().any(|row| row.kind == "event_trigger")
    }
}

/// One property of one database object; see `catalog.sql`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Property {
    pub(super) kind: String,
    pub(super) object: String,
    /// The keys of the objects that contain this one.
    #[serde(default)]
    pub(super) part_of: Vec<String>,
    pub(super) definition: String,
    /// SQL that restores the property.
    #[serde(default)]
    fix: String,
    /// SQL that removes the property.
    #[serde(default)]
    pub(super) undo: String,
}

/// The result of the migrations. `{schema}`, `{owner}`, `{app}` and `{reader}` are placeholders for
/// names, and `{partition}`, `{from}` and `{to}` for each monthly partition.
const EXPECTED: &str = include_str!("../store/postgres/expected.json");

/// The newest server whose deparsed definitions are known to equal those in [`EXPECTED`].
const NEWEST_SERVER: u32 = 18;

/// The kinds whose definitions the server deparses. A newer server may format them differently.
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

/// Returns each difference between `actual` and the result of the migrations, with its remedy.
/// `app` is the service's role.
pub(crate) fn differences(
    actual: &SchemaCatalog,
    schema: &str,
    app: &str,
) -> Result<Vec<Finding>, serde_json::Error> {
    let mut expected = Expected::new(actual, schema)?;
    if !actual.guards_definitions() {
        expected.remove_event_triggers(actual);
    }
    let mut findings = expected.compare_objects(actual);
    let is_expected = |key: &String| expected.properties.contains_key(key);
    findings.extend(privilege_findings(
        &expected.privileges,
        is_expected,
        actual,
        schema,
        app,
    ));
    Ok(findings)
}

struct Expected {
    /// All properties except privileges, by [`Property::key`].
    properties: BTreeMap<String, Property>,
    privileges: ExpectedPrivileges,
    /// The partitions that a function may refer to where its expected definition has `{partition}`.
    partitions: BTreeSet<String>,
}

impl Expected {
    fn new(actual: &SchemaCatalog, schema: &str) -> Result<Self, serde_json::Error> {
        let mut partitions = BTreeSet::from([DEFAULT_PARTITION.to_owned()]);
        for row in &actual.rows {
            let name = row.object.strip_prefix(schema);
            let name = name.and_then(|name| name.strip_prefix('.'));
            if let Some(month) = name.and_then(Month::from_partition) {
                partitions.insert(month.partition());
            }
        }
        let mut expected = Self {
            properties: BTreeMap::new(),
            privileges: ExpectedPrivileges::default(),
            partitions,
        };
        let rows: Vec<Property> = serde_json::from_str(EXPECTED)?;
        for row in rows {
            let row = row.map(|text| {
                text.replace("{schema}", schema)
                    .replace("{owner}", &actual.owner)
            });
            if row.kind == "privilege" {
                expected.privileges.insert(&row);
            } else if row.object.contains("{partition}") {
                for partition in expected.partitions.clone() {
                    if let Some(month) = Month::from_partition(&partition) {
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

    /// Stops expecting event triggers. Only a superuser can create them, so a schema may have none
    /// of them, but not only some of them.
    fn remove_event_triggers(&mut self, actual: &SchemaCatalog) {
        let exists = |key: &String| actual.rows.iter().any(|row| row.key() == *key);
        let is_handler = |row: &Property| {
            row.kind == "routine" && row.definition.contains("RETURNS event_trigger")
        };
        let mut removed: BTreeSet<String> = self
            .properties
            .iter()
            .filter(|(key, row)| {
                row.kind.starts_with("event_trigger") || is_handler(row) && !exists(key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        // The properties of the removed functions are no longer expected either.
        let parts = self.properties.iter();
        let parts =
            parts.filter(|(_, row)| row.part_of.iter().any(|whole| removed.contains(whole)));
        let parts: Vec<_> = parts.map(|(key, _)| key.clone()).collect();
        removed.extend(parts);
        self.properties.retain(|key, _| !removed.contains(key));
    }

    fn compare_objects(&self, actual: &SchemaCatalog) -> Vec<Finding> {
        let rows = actual.rows.iter().filter(|row| row.kind != "privilege");
        let found: HashMap<String, &Property> = rows.map(|row| (row.key(), row)).collect();
        let differs = |key: &String, row: &Property| match found.get(key) {
            None => true,
            Some(found) => !self.definition_matches(row, &found.definition, actual.server),
        };
        let differing: BTreeSet<&String> = self
            .properties
            .iter()
            .filter(|(key, row)| differs(key, row))
            .map(|(key, _)| key)
            .collect();
        let mut findings = Vec::new();
        for key in &differing {
            let row = &self.properties[*key];
            if !row.part_of.iter().any(|whole| differing.contains(whole)) {
                findings.push(row.difference(found.get(*key).copied()));
            }
        }
        let is_unexpected = |row: &Property| !self.properties.contains_key(&row.key());
        let mut unexpected: Vec<_> = found
            .values()
            .filter(|row| is_unexpected(row))
            // Parts of an object that is itself reported are not reported again.
            .filter(|row| {
                let mut wholes = row.part_of.iter();
                wholes
                    .all(|whole| self.properties.contains_key(whole) && !differing.contains(whole))
            })
            .collect();
        unexpected.sort_by_key(|row| row.key());
        findings.extend(unexpected.into_iter().map(|row| row.unexpected()));
        findings
    }

    fn definition_matches(&self, expected: &Property, definition: &str, server: u32) -> bool {
        if server > NEWEST_SERVER && DEPARSED.contains(&expected.kind.as_str()) {
            return true;
        }
        if !expected.definition.contains("{partition}") {
            return expected.definition == definition;
        }
        let mut partitions = self.partitions.iter();
        partitions.any(|name| expected.definition.replace("{partition}", name) == definition)
    }
}

impl Property {
    fn key(&self) -> String {
        format!("{} {}", self.kind, self.object)
    }

    fn map(&self, replace: impl Fn(&str) -> String) -> Self {
        Self {
            kind: self.kind.clone(),
            object: replace(&self.object),
            part_of: self.part_of.iter().map(|key| replace(key)).collect(),
            definition: replace(&self.definition),
            fix: replace(&self.fix),
            undo: String::new(),
        }
    }

    /// Describes the property for a message.
    fn description(&self) -> Cow<'_, str> {
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

    /// The finding for this expected property if the schema has `found`, or nothing, in its place.
    fn difference(&self, found: Option<&Self>) -> Finding {
        const MAX_QUOTED: usize = 60;
        let description = self.description();
        let is_short = |text: &str| text.len() <= MAX_QUOTED && !text.contains('\n');
        let message = match found {
            None => format!("{description} is missing from the audit schema"),
            Some(found) if is_short(&found.definition) && is_short(&self.definition) => format!(
                "{description} is {} and should be {}, as in the migrations",
                found.definition, self.definition
            ),
            Some(_) => format!("{description} differs from its definition in the migrations"),
        };
        let mut remedy = match found {
            // Only the catalog knows the role to revert to, so its statement is used.
            Some(found) if self.fix.is_empty() => found.undo.clone(),
            _ => self.fix.replace("{definition}", &self.definition),
        };
        if remedy.contains("{partition}") {
            remedy = remedy.replace("{partition}", DEFAULT_PARTITION);
            remedy
                .push_str(" -- then, so that it checks this month's partition first: maintain(3)");
        }
        Finding {
            kind: FindingKind::SchemaDiffers,
            object: self.object.clone(),
            message,
            remedy,
            remedy_is_multiline: true,
        }
    }

    /// The finding for a property that the migrations do not create.
    fn unexpected(&self) -> Finding {
        Finding {
            kind: FindingKind::SchemaDiffers,
            object: self.object.clone(),
            message: format!(
                "{} is in the audit schema, but no migration creates it",
                self.description()
            ),
            remedy: self.undo.clone(),
            remedy_is_multiline: false,
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

    /// If such definitions had to be equal, a service would not start on a server that is newer
    /// than the toolkit.
    #[test]
    fn a_newer_server_may_format_deparsed_definitions_differently() {
        let actual = SchemaCatalog {
            owner: "owner".to_owned(),
            server: NEWEST_SERVER,
            rows: Vec::new(),
        };
        let expected = Expected::new(&actual, "ledger_audit").unwrap();
        let matches = |kind, found: &str, server| {
            expected.definition_matches(&property(kind, "as expected"), found, server)
        };
        for kind in ["constraint", "owner"] {
            for server in [15, NEWEST_SERVER, NEWEST_SERVER + 1] {
                assert!(matches(kind, "as expected", server));
            }
            for server in [15, NEWEST_SERVER] {
                assert!(!matches(kind, "different", server), "{kind} on {server}");
            }
        }
        assert!(matches("constraint", "different", NEWEST_SERVER + 1));
        assert!(!matches("owner", "different", NEWEST_SERVER + 1));
    }

    #[test]
    fn a_short_definition_is_quoted_with_the_expected_one() {
        let wanted = |definition: &str| Property {
            fix: "make it {definition};".to_owned(),
            ..property("storage", definition)
        };
        let found = |definition: &str| Property {
            undo: "take it back;".to_owned(),
            ..property("storage", definition)
        };
        let (short, long) = ("x".repeat(60), "x".repeat(61));
        let quoted = wanted("plain").difference(Some(&found(&short)));
        let expected = format!(
            "the storage of ledger_audit.record is {short} and should be plain, as in the migrations"
        );
        assert_eq!(quoted.message, expected);
        assert_eq!(quoted.remedy, "make it plain;");
        for (wanted_as, found_as) in [("plain", &*long), (&*long, "plain"), ("plain", "a\nb")] {
            let finding = wanted(wanted_as).difference(Some(&found(found_as)));
            let message =
                "the storage of ledger_audit.record differs from its definition in the migrations";
            assert_eq!(finding.message, message);
        }
        let without_fix = property("storage", "plain");
        let undone = without_fix.difference(Some(&found("main")));
        assert_eq!(undone.remedy, "take it back;");
    }
}
