//! Compares the privileges on the audit schema with those that a service and a reader need.

use std::collections::{BTreeMap, BTreeSet};

use super::differences::{Property, SchemaCatalog};
use super::{Finding, FindingKind};
use crate::sql::{literal, quoted};

/// The privileges that the migrations grant, as `EXECUTE ON FUNCTION …`.
#[derive(Default)]
pub(super) struct ExpectedPrivileges {
    /// The privileges of the service's role.
    app: BTreeSet<String>,
    /// The privileges of a reader's role.
    reader: BTreeSet<String>,
    /// The privileges of `PUBLIC`.
    public: BTreeSet<String>,
}

impl ExpectedPrivileges {
    pub(super) fn insert(&mut self, row: &Property) {
        let privilege = without_grantee(row);
        match row.definition.as_str() {
            "{app}" => self.app.insert(privilege),
            "{reader}" => self.reader.insert(privilege),
            _ => self.public.insert(privilege),
        };
    }
}

/// The privileges of one role, by [`without_grantee`].
type Granted<'a> = BTreeMap<String, &'a Property>;

/// Returns a finding for privileges that the service's role `app` lacks, and for each object on
/// which a role has more privileges than a service or a reader needs. `is_expected` returns whether
/// the migrations create an object.
pub(super) fn privilege_findings(
    expected: &ExpectedPrivileges,
    is_expected: impl Fn(&String) -> bool,
    actual: &SchemaCatalog,
    schema: &str,
    app: &str,
) -> Vec<Finding> {
    let granted = granted_by_role(actual, is_expected);
    let app = quoted(app);
    let mut findings = Vec::new();
    // A role without any direct privileges gets them through another role, which `check.sql`
    // checks.
    if let Some(granted) = granted.get(app.as_str()) {
        findings.extend(missing(expected, granted, schema, &app));
    }
    for (role, granted) in granted {
        let is_a_service = role == app
            || expected
                .app
                .iter()
                .all(|needed| granted.contains_key(needed));
        let allowed = match role {
            "PUBLIC" => &expected.public,
            _ if is_a_service => &expected.app,
            _ => &expected.reader,
        };
        findings.extend(excess(role, &granted, allowed));
    }
    findings
}

fn granted_by_role(
    actual: &SchemaCatalog,
    is_expected: impl Fn(&String) -> bool,
) -> BTreeMap<&str, Granted<'_>> {
    let mut roles: BTreeMap<&str, Granted<'_>> = BTreeMap::new();
    let privileges = actual.rows.iter().filter(|row| row.kind == "privilege");
    // Privileges on an unexpected object are reported with that object. The catalog does not list
    // the columns of views.
    let is_on_expected_object = |row: &&Property| {
        let mut wholes = row.part_of.iter();
        wholes.all(|key| is_expected(key) || key.starts_with("column "))
    };
    for row in privileges.filter(is_on_expected_object) {
        let granted = roles.entry(&row.definition).or_default();
        granted.insert(without_grantee(row), row);
    }
    roles
}

fn missing(
    expected: &ExpectedPrivileges,
    granted: &Granted<'_>,
    schema: &str,
    app: &str,
) -> Option<Finding> {
    let is_missing = |needed: &&String| !granted.contains_key(*needed);
    let missing = expected.app.iter().filter(is_missing);
    let missing: Vec<_> = missing.map(String::as_str).collect();
    (!missing.is_empty()).then(|| Finding {
        kind: FindingKind::PrivilegesMissing,
        object: schema.to_owned(),
        message: format!("the role {app} lacks {}", missing.join(", ")),
        remedy: format!("SELECT {schema}.grant_app({});", literal(app)),
        remedy_is_multiline: false,
    })
}

/// Returns a finding for each object on which `role` has privileges that are not `allowed`.
fn excess(role: &str, granted: &Granted<'_>, allowed: &BTreeSet<String>) -> Vec<Finding> {
    let mut by_object: BTreeMap<&str, Vec<(&str, &Property)>> = BTreeMap::new();
    for (privilege, row) in granted {
        if !allowed.contains(privilege) {
            let (operation, object) = privilege.split_once(" ON ").unwrap_or((privilege, ""));
            by_object.entry(object).or_default().push((operation, row));
        }
    }
    let finding = |(object, excess): (&str, Vec<(&str, &Property)>)| {
        let operations: Vec<_> = excess.iter().map(|(operation, _)| *operation).collect();
        let revokes: Vec<_> = excess.iter().map(|(_, row)| row.undo.as_str()).collect();
        Finding {
            kind: FindingKind::PrivilegeUnexpected,
            object: object.split_once(' ').unwrap_or(("", object)).1.to_owned(),
            message: format!(
                "{role} has {} on the {}, which neither a service nor a reader of records needs",
                operations.join(", "),
                with_lower_case_kind(object)
            ),
            remedy: revokes.join(" "),
            remedy_is_multiline: false,
        }
    };
    by_object.into_iter().map(finding).collect()
}

/// Converts `TABLE name` to `table name`.
fn with_lower_case_kind(object: &str) -> String {
    let (kind, name) = object.split_once(' ').unwrap_or(("", object));
    format!("{} {name}", kind.to_lowercase())
}

/// The privilege without its `TO role`.
fn without_grantee(row: &Property) -> String {
    row.object
        .replacen(&format!(" TO {}", row.definition), "", 1)
}

#[cfg(test)]
mod tests {
    use super::with_lower_case_kind;

    #[test]
    fn the_kind_of_an_object_is_in_lower_case() {
        assert_eq!(
            with_lower_case_kind("TABLE ledger_audit.record"),
            "table ledger_audit.record"
        );
    }
}
