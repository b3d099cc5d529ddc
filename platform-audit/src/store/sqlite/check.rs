//! Finds every difference between the audit schema in a file and the one that the migrations
//! create.

use std::collections::BTreeMap;

use super::super::{AuditDatabase, Schema};
use super::expected::{Object, expected};
use super::guard::{guard_prefix, guard_triggers};
use super::remedy::Remedies;
use crate::check::{Finding, FindingKind, RawFinding};
use crate::error::Error;

impl<DB: AuditDatabase> Schema<'_, DB> {
    /// `other_version` contains the findings about the schema's version. If there are any, nothing
    /// else is compared.
    pub(in crate::store) async fn findings_on_sqlite(
        &mut self,
        other_version: Vec<RawFinding>,
    ) -> Result<Vec<Finding>, Error> {
        let expected = expected::<DB>(self.name).await?;
        let remedies = Remedies {
            schema: self.name,
            service: self.service,
            expected: &expected,
        };
        if !other_version.is_empty() {
            let findings = other_version.into_iter();
            return Ok(findings.map(|found| remedies.of_state(found)).collect());
        }
        let all = include_str!("objects.sql").replace("{where}", "true");
        let there: Vec<Object> = self.fetch_json(&all, Vec::new()).await?;
        let temporary: Vec<Object> = self
            .fetch_json(include_str!("temporary.sql"), Vec::new())
            .await?;

        let mut findings = differences(self.name, &there, &remedies);
        findings.extend(shadows(self.name, &temporary, &remedies));
        let is_there = |name: &str| {
            let name = format!("{}_{name}", self.name);
            let is_it = |object: &&Object| object.kind == "table" && object.name == name;
            there.iter().find(is_it) == expected.iter().find(is_it)
        };
        let (counted, exempting) = (
            is_there("record") && is_there("obligation"),
            is_there("exemption"),
        );
        let exempt: Vec<String> = if exempting {
            let exempt = "SELECT json_group_array(relation) FROM main.{schema}_exemption";
            self.fetch_json(exempt, Vec::new()).await?
        } else {
            Vec::new()
        };
        findings.extend(unguarded(self.name, &there, &exempt, &remedies));
        if counted {
            let state: Vec<RawFinding> = self
                .fetch_json(include_str!("check.sql"), Vec::new())
                .await?;
            findings.extend(state.into_iter().map(|found| remedies.of_state(found)));
        }
        Ok(findings)
    }
}

fn is_audit_table(expected: &[Object], table: &str) -> bool {
    expected
        .iter()
        .any(|object| object.kind == "table" && object.name.eq_ignore_ascii_case(table))
}

/// Objects that are missing, changed or unexpected.
fn differences(schema: &str, there: &[Object], remedies: &Remedies<'_>) -> Vec<Finding> {
    let expected = remedies.expected;
    let by_name: BTreeMap<&str, &Object> =
        there.iter().map(|object| (&*object.name, object)).collect();
    let mut findings = Vec::new();
    for wanted in expected {
        match by_name.get(&*wanted.name) {
            None => findings.push(remedies.of_missing(wanted)),
            // sqlx's own table. Its text may differ between versions.
            Some(found)
                if wanted.name == format!("{schema}_migration") && found.kind == wanted.kind => {}
            Some(found) if *found != wanted => findings.push(remedies.of_changed(wanted, found)),
            Some(_) => {}
        }
    }
    let unexpected = there.iter().filter(|object| {
        let is_known = expected.iter().any(|wanted| wanted.name == object.name);
        // The guards' triggers are checked by `unguarded`.
        let is_guard = || {
            let guards = guard_triggers(schema, &object.table);
            guards.iter().any(|guard| guard.name == object.name)
        };
        let belongs = is_audit_table(expected, &object.table)
            || object.kind == "trigger" && object.name.starts_with(&guard_prefix(schema));
        belongs && !is_known && !is_guard()
    });
    findings.extend(unexpected.map(|object| remedies.of_unexpected(object, "main")));
    findings
}

/// Temporary objects of this connection that shadow the audit tables or fire when they are written.
fn shadows(schema: &str, temporary: &[Object], remedies: &Remedies<'_>) -> Vec<Finding> {
    let shadowing = temporary.iter().filter(|object| {
        is_audit_table(remedies.expected, &object.table)
            || object.name.starts_with(&guard_prefix(schema))
    });
    shadowing
        .map(|object| remedies.of_unexpected(object, "temp"))
        .collect()
}

/// The service's tables that are neither guarded nor exempt.
fn unguarded(
    schema: &str,
    there: &[Object],
    exempt: &[String],
    remedies: &Remedies<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let business = there.iter().filter(|object| {
        object.kind == "table"
            && !object.name.starts_with("sqlite_")
            // sqlx's own table.
            && object.name != "_sqlx_migrations"
            && !is_audit_table(remedies.expected, &object.name)
            && !exempt.contains(&object.name)
    });
    for table in business {
        let triggers = guard_triggers(schema, &table.name);
        let missing: Vec<_> = triggers
            .iter()
            .filter(|trigger| !there.contains(trigger))
            .collect();
        if missing.len() == triggers.len() {
            findings.push(remedies.of_guard(FindingKind::TableUnguarded, &table.name, &missing));
        } else {
            findings.extend(missing.iter().map(|trigger| {
                remedies.of_guard(FindingKind::GuardMissing, &table.name, &[trigger])
            }));
        }
    }
    findings
}
